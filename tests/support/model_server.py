"""Tiny models whose answers tell where they came from, and a model server in this process to serve them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import numpy as np
import onnx
from google.protobuf.message import Message
from onnx import TensorProto, helper, numpy_helper

from services.core.tensors import from_proto, to_proto
from services.model_server.app import ModelServer
from services.model_server.config import ServerConfig
from services.pb import tfserving_pb2 as pb
from tests.support.stack import free_port

OPSET, IR_VERSION = 17, 8
CALL_S = 20.0
PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"


def write_scale_model(base: Path, version: int, *, factor: float = 2.0) -> Path:
    """`base/version/model.onnx`: x of shape (n, 2) -> y = factor * x and sum = the row sums. Appears by rename."""
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["y"]),
        helper.make_node("ReduceSum", ["x", "axis"], ["sum"], keepdims=0),
    ]
    constants = [
        numpy_helper.from_array(np.array(factor, np.float32), "factor"),
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
    ]
    outputs: list[tuple[str, list[Any]]] = [("y", [None, 2]), ("sum", [None])]
    return write_onnx(base, version, nodes, constants, [("x", [None, 2])], outputs)


def write_onnx(
    base: Path,
    version: int,
    nodes: list[Any],
    constants: list[Any],
    inputs: list[tuple[str, list[Any]]],
    outputs: list[tuple[str, list[Any]]],
    *,
    kind: int = TensorProto.FLOAT,
) -> Path:
    """A version folder with a graph of these nodes."""
    graph = helper.make_graph(
        nodes,
        base.name,
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs],
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    hidden, folder = base / f".tmp-{version}", base / str(version)
    hidden.mkdir(parents=True)
    onnx.save(model, hidden / "model.onnx")
    return hidden.rename(folder)


@dataclass(frozen=True)
class Running:
    """A server in this process, and how to talk to it."""

    server: ModelServer
    channel: grpc.Channel
    rest: str

    def call(
        self, method: str, request: Message, response_class: type[Message], *, timeout: float | None = CALL_S
    ) -> Any:
        """One unary call by its short name, such as `Predict`."""
        return call(self.channel, method, request, response_class, timeout=timeout)

    def predict(self, name: str, outputs: list[str] | None = None, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Predict with arrays in and out."""
        request = predict_request(name, version=None, **inputs)
        request.output_filter.extend(outputs or [])
        response = self.call("Predict", request, pb.PredictResponse)
        return {alias: from_proto(tensor) for alias, tensor in response.outputs.items()}


def call(
    channel: grpc.Channel,
    method: str,
    request: Message,
    response_class: type[Message],
    *,
    timeout: float | None = CALL_S,
) -> Any:
    """One unary call; the method's service is known by its name."""
    service = MODEL_SERVICE if method in ("GetModelStatus", "HandleReloadConfigRequest") else PREDICTION_SERVICE
    stub: Any = channel.unary_unary(
        f"/{service}/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=response_class.FromString,
    )
    return stub(request, timeout=timeout)


def predict_request(name: str, *, version: int | None = None, **inputs: np.ndarray) -> pb.PredictRequest:
    """A PredictRequest with each input as tensor_content."""
    request = pb.PredictRequest(model_spec=pb.ModelSpec(name=name))
    if version is not None:
        request.model_spec.version.value = version
    for alias, array in inputs.items():
        request.inputs[alias].CopyFrom(to_proto(array))
    return request


@contextmanager
def model_server(**flags: Any) -> Iterator[Running]:
    """Serve in this process, on free ports of 127.0.0.1, with fast polls and no patience for failed loads."""
    quick = {"max_num_load_retries": 0, "load_retry_interval_micros": 50_000, "drain_seconds": 5.0}
    rest_port = free_port()
    config = ServerConfig(**{**quick, "host": "127.0.0.1", "port": free_port(), "rest_api_port": rest_port, **flags})
    server = ModelServer(config)
    server.load(Event())
    server.start()
    options = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", options) as channel:
        try:
            yield Running(server, channel, f"http://127.0.0.1:{rest_port}")
        finally:
            server.drain()


def outcome(function: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    """How a gRPC call that must fail did so."""
    try:
        answer = function()
    except grpc.RpcError as error:
        return error.code(), error.details() or ""
    raise AssertionError(f"the call went well: {answer}")


def write_slow_model(base: Path, version: int) -> Path:
    """x -> y = x after as many matrix products as x's largest number says, about 0.1 ms each: slow on request."""
    size = 128
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["before", "weights"], ["product"]),
            helper.make_node("Identity", ["keep"], ["again"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("keep", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, [size, size]),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("product", TensorProto.FLOAT, [size, size]),
        ],
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["turns"], to=TensorProto.INT64),
        helper.make_node("Loop", ["turns", "", "weights"], ["result"], body=body),
        helper.make_node("ReduceSum", ["result"], ["total"], keepdims=0),
        helper.make_node("Mul", ["total", "nothing"], ["zero"]),
        helper.make_node("Add", ["x", "zero"], ["y"]),
    ]
    constants = [
        numpy_helper.from_array(np.eye(size, dtype=np.float32), "weights"),
        numpy_helper.from_array(np.array(0, np.float32), "nothing"),
    ]
    return write_onnx(base, version, nodes, constants, [("x", [None])], [("y", [None])])
