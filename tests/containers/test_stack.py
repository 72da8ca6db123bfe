"""The chain in containers: who they are, what they are denied, and how they take being killed, cut off and replaced.

The tests share one stack and leave it healthy. The time limits are those of a machine with two cores.
"""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import requests

from deploy.stack.chain import wait_until
from tests.support.containers import USER, docker
from tests.support.load import Load
from tests.support.make_up import type_curl
from tests.support.stack import ROOT, SHIPPED

SERVICES = ("denoiser", "classifier", "gateway")
MNIST = Path(os.environ.get("CLEARDIGITS_MNIST") or Path.home() / ".keras/datasets/mnist.npz")
DEADLINE_S = 2.0  # the gateway's default budget of a request


def post(url: str) -> requests.Response:
    picture = (ROOT / "docs/samples/noisy-7.png").read_bytes()
    return requests.post(f"{url}/v1/recognize", data=picture, headers={"Content-Type": "image/png"}, timeout=30)


def healthy(containers) -> bool:
    states = [each["State"] for each in containers.inspect()]
    return len(states) >= 3 and all(state.get("Health", {}).get("Status") == "healthy" for state in states)


def test_every_container_becomes_healthy(containers):
    assert wait_until(lambda: healthy(containers), timeout_s=30)


def test_up_prints_a_curl_line_that_works(containers):
    again = containers.up()  # a second `make up` is harmless
    [line] = re.findall(r"curl .*", again.stdout)

    assert again.returncode == 0, again.stderr
    assert json.loads(type_curl(line))["results"][0]["digit"] == 7


def test_digits_are_read_right_through_the_published_port(containers):
    pictures = [(str(digit), (ROOT / f"docs/samples/noisy-{digit}.png").read_bytes()) for digit in range(10)]
    answer = requests.post(f"{containers.url}/v1/recognize", files=pictures, timeout=30).json()

    assert [result["digit"] for result in answer["results"]] == list(range(10))


def test_only_the_gateway_is_published_and_only_on_loopback(containers):
    published = {
        each["Config"]["Labels"]["com.docker.compose.service"]: each["HostConfig"]["PortBindings"] or {}
        for each in containers.inspect()
    }
    port = containers.make.environ["CLEARDIGITS_GATEWAY_PORT"]

    assert published == {
        "denoiser": {},
        "classifier": {},
        "gateway": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": port}]},
    }


@pytest.mark.parametrize("service", ["denoiser", "classifier"])
def test_model_server_sees_the_gateway_and_nothing_beyond_its_network(containers, service):
    [state] = containers.inspect(service)
    [gateway] = containers.inspect("gateway")
    address = {name: each["IPAddress"] for name, each in gateway["NetworkSettings"]["Networks"].items()}

    def reaches(host: str) -> bool:
        connect = f"import socket; socket.create_connection(({host!r}, 8080), timeout=2)"
        return (
            subprocess.run(["docker", "exec", state["Id"], "python", "-c", connect], capture_output=True).returncode
            == 0
        )

    assert list(state["NetworkSettings"]["Networks"]) == [f"{containers.project}_models"]
    assert docker("network", "inspect", "--format", "{{.Internal}}", f"{containers.project}_models") == "true"
    assert reaches(address[f"{containers.project}_models"])
    assert not reaches(address[f"{containers.project}_front"])


@pytest.mark.parametrize("service", SERVICES)
def test_process_is_an_ordinary_user_without_privileges(containers, service):
    [state] = containers.inspect(service)
    status = dict(
        line.split(":", 1) for line in docker("exec", state["Id"], "cat", "/proc/1/status").splitlines() if ":" in line
    )

    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {str(USER)}
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"


@pytest.mark.parametrize("service", SERVICES)
def test_root_filesystem_and_models_are_read_only(containers, service):
    [state] = containers.inspect(service)
    places = ["/app", "/opt/venv", "/etc", *(["/models/denoiser"] if service != "gateway" else [])]
    flags = {
        mount.split()[1]: mount.split()[3] for mount in docker("exec", state["Id"], "cat", "/proc/mounts").splitlines()
    }
    writable = [
        place
        for place in places
        if subprocess.run(
            ["docker", "exec", "-u", "0", state["Id"], "mkdir", f"{place}/new"], capture_output=True
        ).returncode
        == 0
    ]

    assert flags["/"].split(",")[0] == "ro"
    assert writable == []


@pytest.mark.parametrize("service", SERVICES)
def test_memory_processors_and_processes_are_limited(containers, service):
    [state] = containers.inspect(service)
    limits = state["HostConfig"]

    assert 0 < limits["Memory"] <= (2 if service == "gateway" else 1) * 2**30  # a GiB for each of its two workers
    assert limits["NanoCpus"] == int(containers.make.environ["CLEARDIGITS_CPUS"]) * 10**9
    assert 0 < limits["PidsLimit"] <= 512
    assert limits["RestartPolicy"]["Name"] == "unless-stopped"


def test_killed_classifier_costs_errors_only_until_it_is_back(containers):
    [before] = containers.inspect("classifier")
    with Load(containers.url) as load:
        load.run_for(2)
        killed = time.monotonic()
        os.kill(before["State"]["Pid"], signal.SIGKILL)
        back = wait_until(lambda: post(containers.url).ok, timeout_s=30)
        recovered = time.monotonic()
        load.run_for(3)
    [after] = containers.inspect("classifier")
    failures = load.failures()

    assert back
    assert recovered - killed < 15
    assert after["RestartCount"] == before["RestartCount"] + 1
    assert {failure.what for failure in failures} <= {"503", "504"}
    assert all(killed - DEADLINE_S <= failure.sent <= recovered + 1 for failure in failures)
    assert max(failure.seconds for failure in load.outcomes) < DEADLINE_S + 1


def test_denoiser_cut_off_is_an_error_within_the_deadline_and_comes_back(containers):
    assert wait_until(lambda: post(containers.url).ok, timeout_s=30)
    [denoiser] = containers.ids("denoiser")
    network = f"{containers.project}_models"
    docker("network", "disconnect", network, denoiser)
    try:
        cut_off = [post(containers.url) for _ in range(5)]
    finally:
        docker("network", "connect", "--alias", "denoiser", network, denoiser)

    assert {answer.status_code for answer in cut_off} <= {503, 504}
    assert {answer.headers["Content-Type"] for answer in cut_off} == {"application/problem+json"}
    assert max(answer.elapsed.total_seconds() for answer in cut_off) < DEADLINE_S + 1
    # of both workers: each has a connection of its own to find again
    assert wait_until(lambda: all(post(containers.url).ok for _ in range(10)), timeout_s=20)


def test_new_version_is_served_without_a_failed_request(containers):
    with Load(containers.url, clients=4) as load:
        load.run_for(1)
        for model in ("denoiser", "classifier"):
            containers.publish_copy(model, SHIPPED + 1)
        switched = wait_until(lambda: load.outcomes[-1].versions == (SHIPPED + 1,) * 2, timeout_s=30)
        load.run_for(1)

    assert switched
    assert load.failures() == []
    assert load.outcomes[0].versions == (SHIPPED,) * 2


@pytest.mark.skipif(not MNIST.is_file(), reason="MNIST is not here: set CLEARDIGITS_MNIST")
def test_what_the_train_job_publishes_is_served_without_a_failed_request(containers):
    """A thousand digits to learn from, 400 to measure on, and a gate that has to be forced: what counts is the way."""
    with Load(containers.url, clients=2, pause_s=0.05) as load:
        trained = containers.job("train", "--epochs 1 --trained 1000 --validation 500 --measured 400 --force")
        switched = wait_until(lambda: load.outcomes[-1].versions == (SHIPPED + 2,) * 2, timeout_s=30)
        load.run_for(1)
        for model in ("denoiser", "classifier"):
            containers.publish_copy(model, SHIPPED + 3)  # one that reads: other tests count on it
        back = wait_until(lambda: load.outcomes[-1].versions == (SHIPPED + 3,) * 2, timeout_s=30)

    assert trained.returncode == 0, trained.stdout[-3000:] + trained.stderr[-3000:]
    assert switched
    assert back
    assert {outcome.what for outcome in load.outcomes} <= set("0123456789")  # read right or wrong, but answered


@pytest.mark.skipif(not MNIST.is_file(), reason="MNIST is not here: set CLEARDIGITS_MNIST")
def test_evaluation_and_load_test_run_beside_the_stack(containers):
    few = "--noise gaussian --levels 0 0.5 --images 400 --latency-requests 40 --lines 2"
    evaluated = containers.job("evaluate", f"{few} --require 'clean>=0.97' --require 'gaussian@0.5>=0.95'")
    loaded = containers.job("load", "--minutes 0.1 --users 4")

    assert evaluated.returncode == 0, evaluated.stdout[-3000:] + evaluated.stderr[-3000:]
    assert loaded.returncode == 0, loaded.stdout[-3000:] + loaded.stderr[-3000:]
    for name in ("evaluation/evaluation.json", "evaluation/report.html", "load/mix/load.json", "load/mix/report.html"):
        assert (containers.reports / name).is_file()


def requests_served(container: str) -> int:
    """How many Predict calls a model server has answered, from its own metrics."""
    script = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8501/monitoring/prometheus/metrics').read().decode())"
    metrics = docker("exec", container, "python", "-c", script)
    return int(sum(float(n) for n in re.findall(r"^:tensorflow:serving:request_count\{.*\} (\S+)$", metrics, re.M)))


def test_three_classifiers_share_the_work_and_one_may_go(containers):
    scaled = containers.up(CLASSIFIERS="3")
    assert scaled.returncode == 0, scaled.stdout + scaled.stderr
    replicas = containers.ids("classifier")
    assert len(replicas) == 3
    before = {each: requests_served(each) for each in replicas}
    with Load(containers.url) as load:
        shared = wait_until(
            lambda: all(requests_served(each) > before[each] + 20 for each in replicas), timeout_s=90, every_s=0.5
        )
        docker("stop", replicas[0])
        load.run_for(3)

    assert shared
    assert load.failures() == []


def test_down_leaves_nothing_behind_even_of_a_stack_half_ended(containers):
    docker("stop", *containers.ids("gateway"))
    down = containers.make.run("down", timeout_s=120)

    assert down.returncode == 0, down.stderr
    assert containers.leftovers() == {"containers": [], "networks": [], "volumes": []}
    assert containers.make.run("status").stdout == "nothing is running: make up\n"
