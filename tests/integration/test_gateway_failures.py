"""What the gateway promises when a model server is killed, frozen, slow, restarted or talks rubbish."""

import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import grpc
import numpy as np
import psutil
import pytest
import requests

from deploy.stack.chain import wait_until
from tests.support.stack import Child, Stack, free_port, running_stack
from tests.support.tiny_models import digits, write_tiny_models

OCTETS = {"Content-Type": "application/octet-stream"}
QUERY = "?preprocess=none"
# everything a caller may meet while a model server is away
POLITE = {200, 503, 504}
WITHIN_S = 20


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    return write_tiny_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module", params=["grpc", "lane"])
def shared(request, models, tmp_path_factory):
    lanes = tmp_path_factory.mktemp("lanes") if request.param == "lane" else None
    # No cache for /readyz: "ready again" after a kill must not be an answer from before it.
    settings = {"QUEUE_IMAGES": "700", "PREDICT_TIMEOUT_S": "3", "READY_CACHE_MS": "0"}
    with running_stack(models, settings, lanes=lanes) as stack:
        yield stack


@pytest.fixture
def stack(shared: Stack):
    """A whole stack before each test, and again after it."""
    yield shared
    for child in (shared.denoiser, shared.classifier):
        if child.running():
            child.thaw()
        else:
            child.start()
    shared.wait_ready()


def ask(url: str, count: int = 1, session: requests.Session | None = None, **headers: str) -> requests.Response:
    """Send the first `count` tagged pictures."""
    pictures, _ = digits(count)
    return (session or requests).post(
        f"{url}/v1/recognize{QUERY}", data=pictures.tobytes(), headers={**OCTETS, **headers}, timeout=10
    )


class Load:
    """Callers that never stop asking, each for its own pictures; every answer is checked, every status kept."""

    def __init__(self, url: str, callers: int = 8) -> None:
        self.url = url
        self.statuses: list[int] = []
        self.wrong = 0
        self._stop = threading.Event()
        self._pictures, self._labels = digits(400)
        self._threads = [threading.Thread(target=self._call, args=(caller,)) for caller in range(callers)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self, caller: int) -> None:
        rng = np.random.default_rng(caller)
        with requests.Session() as session:
            while not self._stop.is_set():
                start, count = int(rng.integers(0, 300)), int(rng.integers(1, 40))
                body = self._pictures[start : start + count].tobytes()
                answer = session.post(f"{self.url}/v1/recognize{QUERY}", data=body, headers=OCTETS, timeout=10)
                self.statuses.append(answer.status_code)
                if answer.status_code == 200:
                    read = [result["digit"] for result in answer.json()["results"]]
                    self.wrong += read != self._labels[start : start + count].tolist()

    def wait_for(self, count: int) -> None:
        """Until so many more answers came."""
        goal = len(self.statuses) + count
        assert wait_until(lambda: len(self.statuses) >= goal, timeout_s=WITHIN_S), f"{len(self.statuses)} of {goal}"


def test_rows_never_reach_another_caller(stack):
    """Sixteen callers with one to forty pictures each, joined into shared batches: everybody gets their own digits."""
    with Load(stack.url, callers=16) as load:
        load.wait_for(400)

    assert set(load.statuses) == {200}
    assert load.wrong == 0


@pytest.mark.parametrize("role", ["denoiser", "classifier"])
def test_a_killed_model_server_is_a_503_until_it_is_back(stack, role):
    server: Child = getattr(stack, role)
    server.kill()
    started = time.monotonic()
    answer = ask(stack.url)
    took_s = time.monotonic() - started

    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/model-unavailable")
    assert role in answer.json()["detail"]
    assert took_s < 2.5
    assert requests.get(f"{stack.url}/readyz", timeout=5).status_code == 503
    assert requests.get(f"{stack.url}/healthz", timeout=5).status_code == 200
    server.start()
    stack.wait_ready()
    assert ask(stack.url).status_code == 200


@pytest.mark.parametrize("role", ["denoiser", "classifier"])
def test_a_frozen_model_server_is_a_504_at_the_deadline(stack, role):
    getattr(stack, role).freeze()
    started = time.monotonic()
    answer = ask(stack.url, **{"Request-Timeout-Ms": "400"})
    took_s = time.monotonic() - started

    assert answer.status_code == 504
    assert 0.35 < took_s < 1.5
    getattr(stack, role).thaw()
    stack.wait_ready()
    assert ask(stack.url).status_code == 200


def test_a_frozen_model_server_fills_the_queue_and_no_more(stack):
    """Beyond the queue's bound the answer comes at once, with Retry-After; no request waits past its deadline."""
    stack.classifier.freeze()
    with ThreadPoolExecutor(48) as callers:
        answers = list(callers.map(lambda _: ask(stack.url, 20, **{"Request-Timeout-Ms": "1500"}), range(96)))

    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {503, 504}
    refused = [answer for answer in answers if answer.status_code == 503]
    assert all(answer.json()["type"] == "/problems/overloaded" for answer in refused)
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert median(answer.elapsed.total_seconds() for answer in refused) < 0.5
    assert max(answer.elapsed.total_seconds() for answer in answers) < 2 * 1.5


@pytest.mark.parametrize("role", ["denoiser", "classifier"])
def test_a_restart_under_load_costs_polite_answers_only(stack, role):
    server: Child = getattr(stack, role)
    with Load(stack.url) as load:
        load.wait_for(50)
        server.kill()
        load.wait_for(16)  # while it is away
        server.start()
        stack.wait_ready()
        after = len(load.statuses) + 8  # those under way may still carry the old failure
        load.wait_for(100)

    assert set(load.statuses) <= POLITE
    assert set(load.statuses[after:]) == {200}
    assert load.wrong == 0


def test_failures_leak_no_threads_and_no_descriptors(stack):
    [worker] = workers_of(stack.gateway.pid)

    def spoil_and_mend() -> None:
        stack.classifier.kill()
        for _ in range(10):
            ask(stack.url)
        stack.classifier.start()
        stack.wait_ready()
        stack.denoiser.freeze()
        with ThreadPoolExecutor(8) as callers:
            list(callers.map(lambda _: ask(stack.url, **{"Request-Timeout-Ms": "100"}), range(24)))
        stack.denoiser.thaw()
        stack.wait_ready()
        with Load(stack.url) as load:
            load.wait_for(100)

    spoil_and_mend()  # pools and channels reach their size
    threads, descriptors = usage(worker)
    for _ in range(2):
        spoil_and_mend()

    def as_before() -> bool:
        threads_after, descriptors_after = usage(worker)
        return threads_after <= threads + 2 and descriptors_after <= descriptors + 4

    assert wait_until(as_before, timeout_s=WITHIN_S), (usage(worker), threads, descriptors)
    metrics = requests.get(f"{stack.url}/metrics", timeout=5).text
    assert re.search(r"^cleardigits_queue_images 0\.0$", metrics, re.MULTILINE)
    assert re.search(r"^cleardigits_in_flight_requests 1\.0$", metrics, re.MULTILINE)  # this one


def test_with_another_replica_alive_a_killed_one_costs_no_request(models):
    """Two classifiers behind one target: calls go around the dead one."""
    ports = [free_port(), free_port()]
    replicas = [classifier_at(port, models) for port in ports]
    target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
    with running(*replicas), running_stack(models, {"CLASSIFIER_TARGET": target}) as stack:
        with Load(stack.url) as load:
            load.wait_for(50)
            replicas[0].kill()
            load.wait_for(100)
            replicas[0].start()
            load.wait_for(100)

    assert set(load.statuses) == {200}
    assert load.wrong == 0


def test_rubbish_is_a_502(models):
    """A server that answers every call with bytes that are no message."""
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: b"\xff\xffrubbish")
    generic = grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", {"Predict": handler})
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([generic])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    gateway_port = free_port()
    settings = {"PORT": gateway_port, "DENOISER_TARGET": f"127.0.0.1:{port}"}
    gateway = Child("gateway", ["services.gateway"], {f"CLEARDIGITS_GATEWAY_{k}": str(v) for k, v in settings.items()})
    url = f"http://127.0.0.1:{gateway_port}"
    try:
        with running(gateway):
            assert wait_until(lambda: alive(url), timeout_s=WITHIN_S)
            answer = ask(url)
    finally:
        server.stop(None)

    assert (answer.status_code, answer.json()["type"]) == (502, "/problems/model-response")


def test_sigterm_under_load_loses_no_request_that_was_accepted(models):
    with running_stack(models, {"DRAIN_S": "0.5"}) as stack:
        outcomes: list[str] = []

        def call() -> None:
            with requests.Session() as session:
                while True:
                    try:
                        answer = ask(stack.url, session=session)
                    except requests.ConnectionError as exc:
                        outcomes.append(type(exc.args[0]).__name__)
                        return
                    outcomes.append(str(answer.status_code))

        with ThreadPoolExecutor(4) as callers:
            calls = [callers.submit(call) for _ in range(4)]
            assert wait_until(lambda: len(outcomes) > 20, timeout_s=WITHIN_S)
            os.kill(stack.gateway.pid, signal.SIGTERM)
            assert wait_until(lambda: says_that_it_drains(stack.url), timeout_s=5)
            for each in calls:
                each.result(timeout=10)
        status = stack.gateway.stop()

    assert status == 0
    assert set(outcomes) <= {"200", "NewConnectionError", "MaxRetryError", "ProtocolError"}
    assert outcomes.count("200") > 20


def test_the_counts_of_all_workers_are_one(models):
    with running_stack(models, {"WORKERS": "2"}) as stack:
        with Load(stack.url, callers=4) as load:
            load.wait_for(60)
        sent = len(load.statuses)
        pages = [requests.get(f"{stack.url}/metrics", timeout=5).text for _ in range(6)]

    counted = [re.search(r'requests_total\{route="/v1/recognize",status="200"\} ([0-9.]+)', page)[1] for page in pages]
    assert {float(count) for count in counted} == {float(sent)}


def test_the_rate_of_a_client_is_that_of_all_workers_also_after_one_died(models):
    with running_stack(models, {"WORKERS": "2", "RATE_LIMIT_PER_S": "0.001", "RATE_LIMIT_BURST": "10"}) as stack:
        workers = workers_of(stack.gateway.pid)
        before = [requests.get(f"{stack.url}/v2", timeout=5).status_code for _ in range(20)]  # a connection for each
        os.kill(workers[0], signal.SIGKILL)
        assert wait_until(
            lambda: len(workers_of(stack.gateway.pid)) == 2 and workers[0] not in workers_of(stack.gateway.pid),
            timeout_s=WITHIN_S,
        )
        stack.wait_ready()
        after = {requests.get(f"{stack.url}/v2", timeout=5).status_code for _ in range(20)}

    assert before == [200] * 10 + [429] * 10
    assert after == {429}


def test_a_killed_worker_is_replaced_and_what_it_had_under_way_is_forgotten(models):
    with running_stack(models, {"WORKERS": "2"}) as stack:
        workers = workers_of(stack.gateway.pid)
        [port] = [word.removeprefix("--port=") for word in stack.classifier.arguments if word.startswith("--port=")]
        assert wait_until(
            lambda: ask(stack.url).ok and all(is_connected(worker, int(port)) for worker in workers), timeout_s=WITHIN_S
        )
        stack.classifier.freeze()
        with ThreadPoolExecutor(6) as callers:
            calls = [callers.submit(ask, stack.url, **{"Request-Timeout-Ms": "1500"}) for _ in range(6)]
            under_way = f"\ncleardigits_in_flight_requests {len(calls) + 1}.0\n"  # and the one that asks
            assert wait_until(lambda: under_way in requests.get(f"{stack.url}/metrics", timeout=5).text, timeout_s=5)
            os.kill(workers[0], signal.SIGKILL)
            outcomes = [call.exception() or call.result().status_code for call in calls]
        stack.classifier.thaw()
        assert wait_until(
            lambda: len(workers_of(stack.gateway.pid)) == 2 and workers[0] not in workers_of(stack.gateway.pid),
            timeout_s=WITHIN_S,
        )
        stack.wait_ready()
        assert wait_until(
            lambda: "\ncleardigits_worker_restarts 1.0\n" in requests.get(f"{stack.url}/metrics", timeout=5).text,
            timeout_s=WITHIN_S,
        )
        metrics = requests.get(f"{stack.url}/metrics", timeout=5).text

    assert [each for each in outcomes if each != 504 and not isinstance(each, requests.ConnectionError)] == []
    assert re.search(r"^cleardigits_in_flight_requests 1\.0$", metrics, re.MULTILINE)  # this one


def test_a_killed_lone_worker_is_told_of_by_the_one_that_takes_its_place(models):
    """Its counters begin again at zero, and the container it lives in never restarted."""
    with running_stack(models) as stack:
        before = requests.get(f"{stack.url}/metrics", timeout=5).text
        [worker] = workers_of(stack.gateway.pid)
        os.kill(worker, signal.SIGKILL)
        assert wait_until(lambda: workers_of(stack.gateway.pid) not in ([], [worker]), timeout_s=WITHIN_S)
        stack.wait_ready()
        after = requests.get(f"{stack.url}/metrics", timeout=5).text
        running = stack.gateway.running()

    assert running
    assert re.search(r"^cleardigits_worker_restarts 0\.0$", before, re.MULTILINE)
    assert re.search(r"^cleardigits_worker_restarts 1\.0$", after, re.MULTILINE)


def classifier_at(port: int, models: Path) -> Child:
    flags = {"port": port, "host": "127.0.0.1", "model_name": "classifier", "model_base_path": models / "classifier"}
    return Child("replica", ["services.model_server", *(f"--{name}={value}" for name, value in flags.items())])


@contextmanager
def running(*children: Child):
    for child in children:
        child.start()
    try:
        yield
    finally:
        for child in children:
            child.close()


def says_that_it_drains(url: str) -> bool:
    answer = requests.get(f"{url}/readyz", timeout=5)
    return answer.status_code == 503 and answer.json()["draining"] is True


def alive(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthz", timeout=2).ok
    except (requests.ConnectionError, requests.ReadTimeout):  # it listens before it has imported all it needs
        return False


def workers_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_connected(pid: int, port: int) -> bool:
    """Whether the process has talked to that port: one that never did finds a frozen server unavailable, not slow."""
    connections = psutil.Process(pid).net_connections("tcp")
    return any(each.raddr and each.raddr.port == port for each in connections if each.status == "ESTABLISHED")


def usage(pid: int) -> tuple[int, int]:
    """Threads and open descriptors of a process."""
    return len(list(Path(f"/proc/{pid}/task").iterdir())), len(list(Path(f"/proc/{pid}/fd").iterdir()))
