"""The model server as an operator meets it: starting, failing to start, draining, following the disk, lasting."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
import requests
from google.protobuf import text_format
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.stack.chain import wait_until
from services.core.lane import ClientEnd, Method
from services.core.tensors import from_proto
from services.pb import tfserving_pb2 as pb
from tests.support.model_server import CALL_S, call, predict_request, write_scale_model, write_slow_model
from tests.support.stack import Child, free_port
from tests.support.tiny_models import write_tiny_models

WAIT_S = 20.0
Health = health_pb2.HealthCheckResponse


@contextmanager
def process(*flags, ready=True):
    """The server as a child process: (child, gRPC channel, REST address)."""
    grpc_port, rest_port = free_port(), free_port()
    child = Child(
        "model_server",
        [
            "services.model_server",
            f"--port={grpc_port}",
            f"--rest_api_port={rest_port}",
            "--host=127.0.0.1",
            "--enable_grpc_healthcheck_service",
            *flags,
        ],
    )
    child.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
            if ready:
                _wait(lambda: _listening(grpc_port) or not child.running())
                assert child.running(), child.output()
            yield child, channel, f"http://127.0.0.1:{rest_port}"
    finally:
        child.close()


def _listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait(condition):
    assert wait_until(condition, timeout_s=WAIT_S), "it did not happen in time"


def _busy_threads(child):
    """How many of its threads compute, or wait for a processor to."""
    tasks = Path(f"/proc/{child.pid}/task").iterdir()
    return sum((task / "stat").read_text().rpartition(")")[2].split()[0] == "R" for task in tasks)


def _model(name, base):
    return [f"--model_name={name}", f"--model_base_path={base}"]


def _predict(channel, name, **inputs):
    return call(channel, "Predict", predict_request(name, **inputs), pb.PredictResponse)


def _states(channel, name):
    request = pb.GetModelStatusRequest(model_spec=pb.ModelSpec(name=name))
    response = call(channel, "GetModelStatus", request, pb.GetModelStatusResponse)
    return {s.version: pb.ModelVersionStatus.State.Name(s.state) for s in response.model_version_status}


def _health(channel, service=""):
    return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=CALL_S)


# ---- starting


def test_it_starts_answers_and_stops_with_status_0(tmp_path):
    write_scale_model(tmp_path / "scale", 1)

    with process(*_model("scale", tmp_path / "scale")) as (child, channel, rest):
        answer = from_proto(_predict(channel, "scale", x=np.float32([[1, 2]])).outputs["y"])
        states = [_health(channel, name).status for name in ("", "scale", "tensorflow.serving.PredictionService")]
        over_rest = requests.get(f"{rest}/v1/models/scale", timeout=CALL_S).json()

        assert answer.tolist() == [[2.0, 4.0]]
        assert states == [Health.SERVING] * 3
        assert over_rest["model_version_status"][0]["state"] == "AVAILABLE"
        assert child.stop() == 0


@pytest.mark.parametrize(
    ("prepare", "status", "complaint"),
    [
        (lambda base: None, 2, "Could not find base path {base} for servable m"),
        (lambda base: (base / "v1").mkdir(parents=True), 2, "No versions of servable m found under base path {base}"),
        (lambda base: (base / "1").mkdir(parents=True), 1, "has neither model.onnx nor saved_model.pb"),
    ],
)
def test_nothing_to_serve_is_one_clear_line(tmp_path, prepare, status, complaint):
    base = tmp_path / "m"
    prepare(base)

    with process(*_model("m", base), "--max_num_load_retries=0", ready=False) as (child, _, _):
        _wait(lambda: not child.running())
        last = child.output().strip().splitlines()[-1]

        assert child.stop() == status
        assert last.startswith("model_server: ")
        assert complaint.format(base=base) in last


@pytest.mark.parametrize("flag", ["--port", "--rest_api_port"])
def test_a_port_in_use_is_one_clear_line(tmp_path, flag):
    write_scale_model(tmp_path / "scale", 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with process(*_model("scale", tmp_path / "scale"), f"{flag}={port}", ready=False) as (child, _, _):
            _wait(lambda: not child.running())
            last = child.output().strip().splitlines()[-1]

            assert child.stop() == 2
            assert last.startswith("model_server: cannot listen for")
            assert str(port) in last


def test_sigterm_while_it_waits_for_a_model_ends_it(tmp_path):
    (tmp_path / "m" / "1").mkdir(parents=True)

    with process(*_model("m", tmp_path / "m"), ready=False) as (child, _, _):
        _wait(lambda: "version failed to load" in child.output())

        assert child.stop() == 0


def test_sigterm_is_noticed_whichever_thread_receives_it(tmp_path):
    """After SIGCONT the kernel may hand it to a thread of gRPC's: the main one must not sleep on."""
    base = tmp_path / "m"
    write_scale_model(base, 1)
    with process(*_model("m", base)) as (child, _, _):
        others = [int(task.name) for task in Path(f"/proc/{child.pid}/task").iterdir() if int(task.name) != child.pid]
        os.kill(max(others), signal.SIGTERM)
        _wait(lambda: not child.running())

        assert child.stop() == 0


def test_a_unix_socket_serves_too(tmp_path):
    write_scale_model(tmp_path / "scale", 1)
    path = tmp_path / "socket"

    with process(*_model("scale", tmp_path / "scale"), f"--grpc_socket_path={path}"):
        with grpc.insecure_channel(f"unix:{path}") as channel:
            assert from_proto(_predict(channel, "scale", x=np.float32([[1, 2]])).outputs["sum"]).tolist() == [3.0]


def test_grpc_over_tls(tmp_path):
    write_scale_model(tmp_path / "scale", 1)
    key, certificate, ssl = tmp_path / "key.pem", tmp_path / "cert.pem", tmp_path / "ssl.config"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2"]
    files = ["-keyout", key, "-out", certificate]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files, *subject], check=True)
    lines = {"server_key": key.read_text(), "server_cert": certificate.read_text()}
    ssl.write_text("\n".join(f"{name}: {json.dumps(text)}" for name, text in lines.items()))
    port = free_port()
    flags = [f"--ssl_config_file={ssl}", f"--port={port}"]

    with process(*_model("scale", tmp_path / "scale"), *flags, ready=False) as (child, _, _):
        _wait(lambda: _listening(port) or not child.running())
        credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
        with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
            assert from_proto(_predict(channel, "scale", x=np.float32([[1, 2]])).outputs["sum"]).tolist() == [3.0]


def test_a_key_that_is_none_is_not_called_a_port_in_use(tmp_path):
    write_scale_model(tmp_path / "scale", 1)
    (tmp_path / "ssl.config").write_text('server_key: "nonsense" server_cert: "nonsense"')
    command = [sys.executable, "-m", "services.model_server", f"--model_base_path={tmp_path / 'scale'}"]
    flags = [f"--ssl_config_file={tmp_path / 'ssl.config'}", f"--port={free_port()}"]
    ended = subprocess.run([*command, *flags], capture_output=True, text=True, timeout=CALL_S)

    assert ended.returncode == 2
    assert "or do key and certificate of --ssl_config_file not belong together?" in ended.stderr.splitlines()[-1]


def test_metrics_count_what_was_asked(tmp_path):
    write_scale_model(tmp_path / "scale", 1)
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")

    with process(*_model("scale", tmp_path / "scale"), f"--monitoring_config_file={monitoring}") as (_, channel, rest):
        _predict(channel, "scale", x=np.float32([[1, 2]]))
        with pytest.raises(grpc.RpcError):
            _predict(channel, "scale", z=np.float32([[1, 2]]))
        requests.post(f"{rest}/v1/models/scale:predict", json={"inputs": [[1, 2]]}, timeout=CALL_S)
        page = requests.get(f"{rest}/monitoring/prometheus/metrics", timeout=CALL_S).text

    assert ':tensorflow:serving:request_count{model_name="scale",status="OK"} 2' in page
    assert ':tensorflow:serving:request_count{model_name="scale",status="INVALID_ARGUMENT"} 1' in page
    latency = ':tensorflow:serving:request_latency_count{model_name="scale",API="%s",entrypoint="%s"} 1'
    assert latency % ("Predict", "GRPC") in page
    assert latency % ("", "REST") in page  # as TensorFlow Serving labels it
    assert ':tensorflow:serving:runtime_latency_count{model_name="scale",API="Predict",runtime="TF1"} 2' in page


# ---- draining


def test_sigterm_lets_calls_in_progress_finish(tmp_path):
    write_slow_model(tmp_path / "slow", 1)

    with process(*_model("slow", tmp_path / "slow")) as (child, channel, rest), ThreadPoolExecutor() as pool:
        _predict(channel, "slow", x=np.float32([1]))  # connected
        body = json.dumps({"inputs": [6000.0]})
        over_grpc = pool.submit(_predict, channel, "slow", x=np.float32([6000]))
        over_rest = pool.submit(requests.post, f"{rest}/v1/models/slow:predict", body, timeout=CALL_S)
        _wait(lambda: _busy_threads(child) >= 2)  # both are inside: the model takes a second for them
        started = time.monotonic()
        stopping = pool.submit(child.stop)

        assert from_proto(over_grpc.result(WAIT_S).outputs["y"]).tolist() == [6000.0]
        assert over_rest.result(WAIT_S).json() == {"outputs": [6000.0]}
        assert stopping.result(WAIT_S) == 0
        assert time.monotonic() - started > 0.05


def test_a_call_that_takes_longer_than_the_drain_does_not_hold_it_up(tmp_path):
    write_slow_model(tmp_path / "slow", 1)

    with process(*_model("slow", tmp_path / "slow"), "--drain_seconds=0.5") as (child, channel, _):
        with ThreadPoolExecutor() as pool:
            call_in_progress = pool.submit(_predict, channel, "slow", x=np.float32([1e6]))
            _wait(lambda: _busy_threads(child) >= 1)

            assert child.stop() == 0
            with pytest.raises(grpc.RpcError):
                call_in_progress.result(WAIT_S)


def test_the_interfaces_share_the_time_of_the_drain(tmp_path):
    """Calls that hung on the lane and over REST took it twice: more than a container is given to stop."""
    write_slow_model(tmp_path / "slow", 1)
    lane, drain_s = tmp_path / "slow.lane", 2.0
    message = predict_request("slow", x=np.float32([1e6])).SerializeToString()
    flags = (*_model("slow", tmp_path / "slow"), f"--drain_seconds={drain_s}", f"--lane_path={lane}")

    with process(*flags) as (child, _, rest), ThreadPoolExecutor() as pool, socket.socket(socket.AF_UNIX) as caller:
        _wait(lambda: caller.connect_ex(str(lane)) == 0)
        caller.sendall(ClientEnd().call(Method.PREDICT, 60_000, message))
        over_rest = pool.submit(requests.post, f"{rest}/v1/models/slow:predict", '{"inputs": [1e6]}', timeout=CALL_S)
        _wait(lambda: _busy_threads(child) >= 2)
        started = time.monotonic()

        assert child.stop() == 0
        assert time.monotonic() - started < 1.75 * drain_s
        assert over_rest.exception(WAIT_S) is not None


def test_health_says_not_serving_while_it_drains(tmp_path):
    write_slow_model(tmp_path / "slow", 1)

    with process(*_model("slow", tmp_path / "slow")) as (child, channel, _), ThreadPoolExecutor() as pool:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=WAIT_S)
        assert next(watch).status == Health.SERVING
        in_progress = pool.submit(_predict, channel, "slow", x=np.float32([4000]))
        _wait(lambda: _busy_threads(child) >= 1)
        stopping = pool.submit(child.stop)

        assert next(watch).status == Health.NOT_SERVING
        watch.cancel()
        assert in_progress.result(WAIT_S)
        assert stopping.result(WAIT_S) == 0


# ---- following the disk


def test_it_polls_for_new_versions_and_reports_broken_ones(tmp_path):
    base = tmp_path / "scale"
    write_scale_model(base, 1)

    def states(channel):
        request = pb.GetModelStatusRequest(model_spec=pb.ModelSpec(name="scale"))
        statuses = call(channel, "GetModelStatus", request, pb.GetModelStatusResponse).model_version_status
        return {status.version: status for status in statuses}

    with process(*_model("scale", base)) as (_, channel, _):
        (base / "2").mkdir()
        (base / "2" / "model.onnx").write_bytes((base / "1" / "model.onnx").read_bytes()[:-20])  # half copied
        _wait(lambda: 2 in states(channel) and states(channel)[2].status.error_message)
        assert _predict(channel, "scale", x=np.float32([[1, 2]])).model_spec.version.value == 1
        assert "model.onnx" in states(channel)[2].status.error_message

        (base / "2" / "model.onnx").write_bytes((base / "1" / "model.onnx").read_bytes())
        _wait(lambda: states(channel)[2].state == pb.ModelVersionStatus.AVAILABLE)
        _wait(lambda: states(channel)[1].state == pb.ModelVersionStatus.END)
        assert _predict(channel, "scale", x=np.float32([[1, 2]])).model_spec.version.value == 2


def test_a_changed_configuration_file_is_applied_and_a_wrong_one_is_not(tmp_path):
    for name in ("one", "two"):
        write_scale_model(tmp_path / name, 1)
    file = tmp_path / "models.config"

    def write(*names):
        entries = (f'config {{ name: "{n}" base_path: "{tmp_path / n}" model_platform: "tensorflow" }}' for n in names)
        file.write_text(f"model_config_list {{ {' '.join(entries)} }}")

    def answers(channel, name):
        try:
            return bool(_predict(channel, name, x=np.float32([[1, 2]])))
        except grpc.RpcError:
            return False

    write("one")
    flags = [f"--model_config_file={file}", "--model_config_file_poll_wait_seconds=1"]
    with process(*flags) as (child, channel, _):
        file.write_text("model_config_list { confg {} }")
        _wait(lambda: "configuration file not applied" in child.output())
        assert answers(channel, "one")

        write("two")
        _wait(lambda: answers(channel, "two"))
        assert not answers(channel, "one")


# ---- lasting


def _resident_mb(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def test_twenty_versions_swapped_under_load_cost_no_request_and_no_memory(tmp_path):
    base = tmp_path / "scale"
    write_scale_model(base, 1, factor=1)
    done = threading.Event()

    def client(channel):
        seen = set()
        while not done.is_set():
            response = _predict(channel, "scale", x=np.float32([[1, 2]]))
            version = response.model_spec.version.value
            assert from_proto(response.outputs["y"]).tolist() == [[1.0 * version, 2.0 * version]]
            seen.add(version)
        return seen

    config = pb.ModelServerConfig()
    config.model_config_list.config.add(name="scale", base_path=str(base), model_platform="tensorflow")
    reload = pb.ReloadConfigRequest(config=config)
    with process(*_model("scale", base)) as (child, channel, _), ThreadPoolExecutor() as pool:
        clients = [pool.submit(client, channel) for _ in range(4)]
        resident = {}
        try:
            for version in range(2, 22):
                write_scale_model(base, version, factor=version)
                call(channel, "HandleReloadConfigRequest", reload, pb.ReloadConfigResponse)
                resident[version] = _resident_mb(child.pid)
        finally:
            done.set()
        seen = set.union(*(future.result(WAIT_S) for future in clients))
        request = pb.GetModelStatusRequest(model_spec=pb.ModelSpec(name="scale"))
        statuses = call(channel, "GetModelStatus", request, pb.GetModelStatusResponse).model_version_status

        assert len(seen) > 10  # they came and went while clients were calling, not between calls
        assert [s.version for s in statuses if s.state == pb.ModelVersionStatus.AVAILABLE] == [21]
        assert {s.state for s in statuses if s.version < 20} == {pb.ModelVersionStatus.END}
        assert resident[21] - resident[6] < 10, f"megabytes after each version: {resident}"
        assert child.stop(signal.SIGTERM) == 0


def _cpu_s(child):
    fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("then", ["deleted", "superseded"])
def test_no_cpu_is_used_while_idle_after_a_bad_version_came_and_went(tmp_path, then):
    """Issue 15.9: the watcher spun a core for ever."""
    write_scale_model(tmp_path / "scale", 1)
    flags = [*_model("scale", tmp_path / "scale"), "--load_retry_interval_micros=200000"]
    with process(*flags) as (child, channel, _):
        (tmp_path / "scale" / "2").mkdir()
        _wait(lambda: 2 in _states(channel, "scale"))
        if then == "deleted":
            (tmp_path / "scale" / "2").rmdir()
        else:
            write_scale_model(tmp_path / "scale", 3)
            _wait(lambda: _states(channel, "scale").get(3) == "AVAILABLE")
        _wait(lambda: _states(channel, "scale")[2] == "END")
        before = _cpu_s(child)
        time.sleep(3)  # an idle time is what is measured

        assert _cpu_s(child) - before < 0.15


def test_versions_are_followed_after_broken_ones_were_removed_in_a_loop(tmp_path):
    """Issue 15.9: a version that went while it was scanned ended the thread that follows the disk."""
    write_scale_model(tmp_path / "scale", 1)
    with process(*_model("scale", tmp_path / "scale")) as (_, channel, _rest):
        until = time.monotonic() + 3
        while time.monotonic() < until:
            for version in range(2, 12):
                (tmp_path / "scale" / str(version) / "variables").mkdir(parents=True)
                (tmp_path / "scale" / str(version) / "model.onnx").touch()
            for version in range(2, 12):
                shutil.rmtree(tmp_path / "scale" / str(version))
        write_scale_model(tmp_path / "scale", 20, factor=3.0)
        _wait(lambda: _states(channel, "scale").get(20) == "AVAILABLE")
        answer = _predict(channel, "scale", x=np.float32([[1, 2]]))

        assert from_proto(answer.outputs["y"]).tolist() == [[3.0, 6.0]]


def test_a_classifier_under_the_denoisers_name_does_not_replace_it(tmp_path):
    """Issue 15.12: every request failed, and readiness stayed green."""
    write_tiny_models(tmp_path)
    with process(*_model("denoiser", tmp_path / "denoiser"), "--max_num_load_retries=0") as (_, channel, _rest):
        (tmp_path / "classifier" / "1").rename(tmp_path / "denoiser" / "7")
        _wait(lambda: _states(channel, "denoiser").get(7) == "END")
        request = pb.GetModelStatusRequest(model_spec=pb.ModelSpec(name="denoiser"))
        statuses = call(channel, "GetModelStatus", request, pb.GetModelStatusResponse).model_version_status
        answer = _predict(channel, "denoiser", images=np.zeros((1, 28, 28, 1), np.float32))

    assert "version 7 does not answer what version 1, which is served, answers" in statuses[1].status.error_message
    assert "serving_default has no output denoised" in statuses[1].status.error_message
    assert list(answer.outputs) == ["denoised"]
    assert answer.model_spec.version.value == 1


def test_the_next_poll_of_the_file_overwrites_a_reload(tmp_path):
    write_scale_model(tmp_path / "scale", 1)
    write_scale_model(tmp_path / "other", 1)

    def config(name):
        return f'config {{ name: "{name}" base_path: "{tmp_path / name}" model_platform: "tensorflow" }}'

    file = tmp_path / "models.config"
    file.write_text(f"model_config_list {{ {config('scale')} }}")
    both = text_format.Parse(f"model_config_list {{ {config('scale')} {config('other')} }}", pb.ModelServerConfig())
    flags = [f"--model_config_file={file}", "--model_config_file_poll_wait_seconds=1"]
    with process(*flags) as (_, channel, _rest):
        call(channel, "HandleReloadConfigRequest", pb.ReloadConfigRequest(config=both), pb.ReloadConfigResponse)
        assert _states(channel, "other") == {1: "AVAILABLE"}

        _wait(lambda: _states(channel, "other") == {1: "END"})
