"""The gRPC port of a gateway with two workers and the shipped models: digits, a worker that dies, the way down."""

import os
import signal
import threading
from collections.abc import Iterator

import grpc
import numpy as np
import psutil
import pytest
import requests
import tritonclient.grpc as triton

from deploy.stack.chain import wait_until
from services.core.preprocessing import to_digit
from services.pb import open_inference_pb2 as pb
from tests.support.drawings import on_canvas
from tests.support.stack import Stack, free_port, running_stack

DIGITS = np.arange(10)
CALL_S = 20.0
SERVER_READY = "/inference.GRPCInferenceService/ServerReady"


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """The ten digits, as the models know them."""
    return np.stack([to_digit(on_canvas(digit)) for digit in DIGITS])


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def stack(port: int) -> Iterator[Stack]:
    settings = {"GRPC_PORT": str(port), "WORKERS": "2", "DRAIN_S": "5", "REQUEST_TIMEOUT_MS": "20000"}
    with running_stack(gateway=settings) as stack:
        yield stack


def read(client: triton.InferenceServerClient, images: np.ndarray) -> np.ndarray:
    tensor = triton.InferInput("images", list(images.shape), "FP32")
    tensor.set_data_from_numpy(images)
    return client.infer("digits", [tensor], client_timeout=CALL_S).as_numpy("digit")


def workers_of(pid: int) -> list[psutil.Process]:
    """Those that listen."""
    return [child for child in psutil.Process(pid).children() if _listens(child)]


def _listens(process: psutil.Process) -> bool:
    try:
        return any(each.status == "LISTEN" for each in process.net_connections("tcp"))
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # a process that ends belongs to root for a moment
        return False


def test_a_worker_that_dies_costs_calls_under_way_only_and_counts_are_of_both(stack: Stack, port: int, images):
    for _ in range(6):  # each connection goes to a worker of the kernel's choice
        with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
            np.testing.assert_array_equal(read(client, images), DIGITS)
    statistics = requests.get(f"{stack.url}/v2/models/digits/stats", timeout=CALL_S).json()["model_stats"]
    before = workers_of(stack.gateway.pid)
    os.kill(before[0].pid, signal.SIGKILL)
    assert wait_until(lambda: len(set(workers_of(stack.gateway.pid)) - {before[0]}) == 2, timeout_s=CALL_S)
    for _ in range(6):
        with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
            np.testing.assert_array_equal(read(client, images), DIGITS)

    assert (statistics[0]["execution_count"], statistics[0]["inference_count"]) == (6, 60)


def test_on_the_way_down_it_is_not_ready_first_and_answers_what_still_comes(stack: Stack, port: int, images):
    with (
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
        triton.InferenceServerClient(f"127.0.0.1:{port}") as client,
    ):
        is_ready = channel.unary_unary(SERVER_READY, response_deserializer=pb.ServerReadyResponse.FromString)
        assert is_ready(b"", timeout=CALL_S).ready
        stopping = threading.Thread(target=stack.gateway.stop)
        stopping.start()
        assert wait_until(lambda: not is_ready(b"", timeout=CALL_S).ready, timeout_s=CALL_S, every_s=0)
        answered = read(client, images)
        stopping.join()
        with pytest.raises(grpc.RpcError) as refused:
            is_ready(b"", timeout=CALL_S)

    np.testing.assert_array_equal(answered, DIGITS)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "Traceback" not in stack.gateway.output()
