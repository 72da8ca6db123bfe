"""Warm-up files: whole ones are replayed, broken ones fail the load and say where."""

import struct
from types import SimpleNamespace

import numpy as np
import pytest

from services.model_server.engines.base import ComputeError, LoadError
from services.model_server.metrics import ServerMetrics
from services.model_server.versions.servable import Servable
from services.model_server.versions.warmup import FILE_NAME, read_records, replay
from services.pb import tfserving_pb2 as pb
from tests.support.model_server import predict_request

DEFINITION = pb.SignatureDef(
    inputs={"x": pb.TensorInfo(name="x:0", dtype=pb.DT_FLOAT)}, outputs={"y": pb.TensorInfo(dtype=pb.DT_FLOAT)}
)


def record(data):
    """One TFRecord; the two checksums are not looked at."""
    return struct.pack("<QI", len(data), 0) + data + bytes(4)


def log_of(request):
    entry = pb.PredictionLog()
    entry.predict_log.request.CopyFrom(request)
    return entry.SerializeToString()


@pytest.fixture
def servable(tmp_path):
    """Its engine writes down what it is asked."""
    calls = []
    DEFINITION.inputs["x"].tensor_shape.unknown_rank = True
    engine = SimpleNamespace(name="toy", definitions={"serving_default": DEFINITION}, calls=calls)
    engine.run = lambda key, inputs, outputs: calls.append((key, inputs["x"].tolist(), outputs))
    servable = Servable("m", 1, tmp_path, engine)
    (tmp_path / FILE_NAME).parent.mkdir()
    return servable


def write(servable, content):
    (servable.path / FILE_NAME).write_bytes(content)


def test_each_request_is_replayed(servable):
    requests = [predict_request("m", x=np.float32([n])) for n in (1, 2)]
    write(servable, b"".join(record(log_of(request)) for request in requests))

    replay(servable, ServerMetrics(), iterations=2)

    assert servable.engine.calls == [("serving_default", [n], ["y"]) for n in (1.0, 1.0, 2.0, 2.0)]


def test_no_file_is_no_warm_up(servable):
    replay(servable, ServerMetrics(), iterations=1)

    assert servable.engine.calls == []


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"short", "ends within a record"),
        (record(b"data")[:-1], "ends within a record"),
        (struct.pack("<QI", 2**60, 0), "ends within a record"),
        (record(b"\xff\xff"), "warm-up request 1"),
        (record(log_of(predict_request("m", z=np.float32([1])))), "warm-up request 1 of .*Signature input alias: x"),
        (record(log_of(predict_request("m", x=np.float32([1])))) * 1001, "more than 1000 warm-up requests"),
    ],
)
def test_a_file_that_cannot_be_replayed_fails_the_load(servable, content, complaint):
    write(servable, content)

    with pytest.raises(LoadError, match=complaint):
        replay(servable, ServerMetrics(), iterations=1)


def test_a_request_the_model_fails_on_fails_the_load(servable):
    write(servable, record(log_of(predict_request("m", x=np.float32([1])))))

    def fail(*_):
        raise ComputeError("out of luck")

    servable.engine.run = fail
    with pytest.raises(LoadError, match=r"warm-up request 1 of .*: out of luck"):
        replay(servable, ServerMetrics(), iterations=1)


def test_records_are_read_one_by_one(tmp_path):
    path = tmp_path / "records"
    path.write_bytes(record(b"one") + record(b"") + record(b"three"))

    assert list(read_records(path)) == [b"one", b"", b"three"]


def test_classify_regress_and_multi_inference_are_replayed_too(tmp_path):
    sent = pb.Input(example_list=pb.Input.ExampleList(examples=[b"one", b"two"]))
    text = pb.TensorInfo(name="in:0", dtype=pb.DT_STRING)
    definition = pb.SignatureDef(inputs={"inputs": text}, outputs={"outputs": pb.TensorInfo(name="out:0")})
    calls = []
    engine = SimpleNamespace(
        definitions={"regress": definition},
        run=lambda key, inputs, outputs: calls.append((key, inputs["inputs"].tolist(), outputs)),
    )
    servable = Servable("m", 1, tmp_path, engine)
    spec = pb.ModelSpec(name="m", signature_name="regress")
    tasks = [pb.MultiInferenceRequest.InferenceTask(model_spec=spec)]
    logs = [
        pb.PredictionLog(classify_log={"request": pb.ClassificationRequest(model_spec=spec, input=sent)}),
        pb.PredictionLog(regress_log={"request": pb.RegressionRequest(model_spec=spec, input=sent)}),
        pb.PredictionLog(multi_inference_log={"request": pb.MultiInferenceRequest(tasks=tasks, input=sent)}),
    ]
    (tmp_path / FILE_NAME).parent.mkdir()
    write(servable, b"".join(record(log.SerializeToString()) for log in logs))

    replay(servable, ServerMetrics(), iterations=1)

    assert calls == [("regress", [b"one", b"two"], ["outputs"])] * 3
