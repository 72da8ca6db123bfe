"""To anything that arrives the server answers with the right code, and goes on."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import requests
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.core.tensors import from_proto, to_proto
from services.pb import tfserving_pb2 as pb
from tests.support.model_server import (
    CALL_S,
    PREDICTION_SERVICE,
    model_server,
    outcome,
    predict_request,
    write_scale_model,
    write_slow_model,
)

SIZES = st.one_of(st.integers(0, 4), st.sampled_from([-1, 2, 2**31, 2**62, 2**63 - 1, -(2**63)]))
SHAPES = st.lists(SIZES, max_size=6)


@pytest.fixture(scope="module", params=[False, True], ids=["direct", "batching"])
def server(request, tmp_path_factory):
    base = tmp_path_factory.mktemp("models") / "scale"
    write_scale_model(base, 1)
    with model_server(model_name="scale", model_base_path=str(base), enable_batching=request.param) as running:
        yield running


@st.composite
def tensors(draw):
    """TensorProtos with fields that need not agree with each other."""
    proto = pb.TensorProto(dtype=draw(st.sampled_from([*pb.DataType.values(), 8, 20, 101, 127])))
    for size in draw(SHAPES):
        proto.tensor_shape.dim.add(size=size)
    proto.tensor_shape.unknown_rank = draw(st.sampled_from([False, False, False, True]))
    proto.tensor_content = draw(st.one_of(st.just(b""), st.binary(max_size=40)))
    proto.float_val.extend(draw(st.lists(st.floats(width=32), max_size=5)))
    proto.int_val.extend(draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3)))
    proto.string_val.extend(draw(st.lists(st.binary(max_size=4), max_size=3)))
    proto.half_val.extend(draw(st.lists(st.integers(-5, 2**20), max_size=3)))
    return proto


def _is_a_float_pair(proto):
    try:
        array = from_proto(proto, as_tensorflow=True)
    except Exception:  # noqa: BLE001 - what our codec refuses is not one
        return False
    return array.dtype == np.float32 and array.ndim == 2 and array.shape[1] == 2


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(proto=tensors())
def test_a_malformed_tensor_is_an_invalid_argument(server, proto):
    request = pb.PredictRequest(model_spec=pb.ModelSpec(name="scale"))
    request.inputs["x"].CopyFrom(proto)

    if _is_a_float_pair(proto):
        response = server.call("Predict", request, pb.PredictResponse)
        np.testing.assert_array_equal(from_proto(response.outputs["y"]), 2 * from_proto(proto, as_tensorflow=True))
    else:
        code, message = outcome(lambda: server.call("Predict", request, pb.PredictResponse))
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert message


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_bytes_that_are_no_request_are_refused(server, data):
    raw = server.channel.unary_unary(f"/{PREDICTION_SERVICE}/Predict")

    code, _ = outcome(lambda: raw(data, timeout=CALL_S))

    assert code in {grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    document=st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=3)),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
        max_leaves=8,
    ),
    key=st.sampled_from(["inputs", "instances", "signature_name"]),
)
def test_json_that_does_not_fit_is_a_400(server, document, key):
    with requests.post(f"{server.rest}/v1/models/scale:predict", json=None, data=_json({key: document})) as answer:
        if answer.status_code == 200:
            assert list(answer.json()) in (["outputs"], ["predictions"])
        else:
            assert answer.status_code == 400
            assert list(answer.json()) == ["error"]


def _json(document):
    return json.dumps(document).encode()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_pass_through(server, value):
    answer = server.predict("scale", x=np.float32([[value, 1]]))

    np.testing.assert_array_equal(answer["y"], np.float32([[2 * value, 2]]))


def test_a_batch_of_none_is_an_answer_of_none(server):
    answer = server.predict("scale", x=np.zeros((0, 2), np.float32))

    assert answer["y"].shape == (0, 2)
    assert answer["sum"].shape == (0,)


def test_a_large_message_passes_and_a_too_large_one_is_refused(tmp_path):
    write_scale_model(tmp_path / "scale", 1)
    rows = np.ones((6_000_000, 2), np.float32)  # 48 MB each way
    too_large = predict_request("scale", x=np.ones((9_000_000, 2), np.float32))

    with model_server(model_name="scale", model_base_path=str(tmp_path / "scale")) as running:
        assert running.predict("scale", ["y"], x=rows)["y"].shape == rows.shape
        code, message = outcome(lambda: running.call("Predict", too_large, pb.PredictResponse))

    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in message


@pytest.mark.parametrize("batching", [False, True])
def test_callers_without_a_deadline_wait_for_their_turn(tmp_path, batching):
    write_slow_model(tmp_path / "slow", 1)

    flags = {"model_name": "slow", "model_base_path": str(tmp_path / "slow"), "enable_batching": batching}
    with model_server(**flags) as running, ThreadPoolExecutor(8) as pool:
        requests = [predict_request("slow", x=np.float32([100])) for _ in range(8)]
        answers = pool.map(lambda r: running.call("Predict", r, pb.PredictResponse, timeout=None), requests)

        assert [from_proto(answer.outputs["y"]).tolist() for answer in answers] == [[100.0]] * 8


def test_probes_do_not_wait_behind_predictions(tmp_path):
    write_slow_model(tmp_path / "slow", 1)

    flags = {"model_name": "slow", "model_base_path": str(tmp_path / "slow"), "enable_grpc_healthcheck_service": True}
    with model_server(grpc_max_threads=2, **flags) as running, ThreadPoolExecutor(8) as pool:
        slow = predict_request("slow", x=np.float32([5000]))
        busy = [pool.submit(running.call, "Predict", slow, pb.PredictResponse) for _ in range(8)]
        health = health_pb2_grpc.HealthStub(running.channel)
        for _ in range(20):
            status = pb.GetModelStatusRequest(model_spec=pb.ModelSpec(name="slow"))
            running.call("GetModelStatus", status, pb.GetModelStatusResponse, timeout=2)
            health.Check(health_pb2.HealthCheckRequest(), timeout=2)

        assert not all(future.done() for future in busy)
        assert [len(future.result(CALL_S).outputs) for future in busy] == [1] * 8


def test_streams_of_reflection_that_stay_open_take_no_thread_of_predict(tmp_path):
    """A client that browses services keeps its stream; as many as --grpc_max_threads once stopped all predictions."""
    write_scale_model(tmp_path / "scale", 1)
    leave = threading.Event()

    def requests() -> Iterator[bytes]:
        yield reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
        leave.wait(CALL_S)

    flags = {"model_name": "scale", "model_base_path": str(tmp_path / "scale"), "grpc_max_threads": 2}
    with model_server(**flags) as running:
        method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        streams = [running.channel.stream_stream(method)(requests()) for _ in range(8)]
        try:
            next(streams[0])
            answers = running.predict("scale", x=np.float32([[1, 2]]))
        finally:
            leave.set()
            for stream in streams:
                stream.cancel()

    assert answers["y"].tolist() == [[2.0, 4.0]]


def test_answers_in_content_are_asked_for_by_flag(tmp_path):
    write_scale_model(tmp_path / "scale", 1)
    flags = {"enable_serialization_as_tensor_content": True}

    with model_server(model_name="scale", model_base_path=str(tmp_path / "scale"), **flags) as running:
        request = predict_request("scale", x=np.float32([[1, 2]]))
        output = running.call("Predict", request, pb.PredictResponse).outputs["y"]

        assert output == to_proto(np.float32([[2, 4]]))
