"""Bytes to the ports that do not speak HTTP/1.1 to everybody: gRPC's HTTP/2, the model servers' REST, the lane.

Each of the messages is right, or floods, before it is mutated.
"""

from __future__ import annotations

import json
import random
import socket
import struct
from dataclasses import dataclass

from services.core.lane import SCHEME, Method
from services.pb import open_inference_pb2 as oip
from services.pb import tfserving_pb2 as tfs
from tests.fuzz.mutations import mutated
from tests.support.stack import Child, Stack

Address = tuple[str, int] | str
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY, _WINDOW, _CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
_END_STREAM, _END_HEADERS = 1, 4
_WAIT_S = 0.2
_IMAGE = tfs.TensorProto(
    dtype=1,
    tensor_shape=tfs.TensorShapeProto(dim=[tfs.TensorShapeProto.Dim(size=size) for size in (1, 28, 28, 1)]),
    tensor_content=bytes(4 * 784),
)


@dataclass(frozen=True)
class Port:
    """Where to send, and what would be right to send there."""

    name: str
    family: socket.AddressFamily
    address: Address
    honest: tuple[bytes, ...]


def ports(stack: Stack, gateway_grpc_port: int) -> list[Port]:
    """All of a stack that does not speak plain HTTP to clients."""
    infer = oip.ModelInferRequest(
        model_name="digits",
        inputs=[oip.ModelInferRequest.InferInputTensor(name="images", datatype="UINT8", shape=[1, 784])],
        raw_input_contents=[bytes(784)],
    )
    path = "/inference.GRPCInferenceService/ModelInfer"
    found = [_http2("gateway-grpc", gateway_grpc_port, path, infer.SerializeToString())]
    for child in (stack.denoiser, stack.classifier):
        flags = flags_of(child)
        predict = tfs.PredictRequest(model_spec=tfs.ModelSpec(name=child.name), inputs={"images": _IMAGE})
        message = predict.SerializeToString()
        path = "/tensorflow.serving.PredictionService/Predict"
        found.append(_http2(f"{child.name}-grpc", int(flags["port"]), path, message))
        rest = ("127.0.0.1", int(flags["rest_api_port"]))
        found.append(Port(f"{child.name}-rest", socket.AF_INET, rest, _rest(child.name)))
        lane = flags["lane_path"].removeprefix(SCHEME)
        status = tfs.GetModelStatusRequest(model_spec=tfs.ModelSpec(name=child.name)).SerializeToString()
        frames = (
            _frame(Method.PREDICT, message),
            _frame(Method.GET_MODEL_STATUS, status),
            _frame(Method.GET_MODEL_STATUS, status) + _frame(Method.PREDICT, message),
        )
        found.append(Port(f"{child.name}-lane", socket.AF_UNIX, lane, frames))
    return found


def flags_of(child: Child) -> dict[str, str]:
    """The command line of a model server."""
    return dict(word.removeprefix("--").split("=", 1) for word in child.arguments if word.startswith("--"))


def poke(port: Port, rng: random.Random) -> str:
    """Send something there; what is wrong with the answer, or nothing. Refused, closed or silent is right."""
    with socket.socket(port.family) as connection:
        connection.settimeout(_WAIT_S)
        try:
            connection.connect(port.address)
            message = rng.choice(port.honest)
            connection.sendall(mutated(message, rng) if rng.random() < 0.8 else message)
            answer = connection.recv(4096)
        except OSError:
            return ""
    status = answer[:12]
    return f"{port.name} answered {answer[:300]!r}" if status in (b"HTTP/1.1 500", b"HTTP/1.1 502") else ""


def _http2(name: str, port: int, path: str, message: bytes) -> Port:
    """Calls, and floods of what costs the sender little."""
    start = _PREFACE + _h2(_SETTINGS, 0, 0, b"")
    head = _literals(
        (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x"), ("te", "trailers"),
        ("content-type", "application/grpc"), ("grpc-timeout", "2S"),
    )  # fmt: skip
    body = struct.pack(">BI", 0, len(message)) + message
    call = _h2(_HEADERS, _END_HEADERS, 1, head) + _h2(_DATA, _END_STREAM, 1, body)
    resets = b"".join(
        _h2(_HEADERS, _END_HEADERS, stream, head) + _h2(_RST, 0, stream, bytes(4)) for stream in range(1, 201, 2)
    )
    pings = _h2(_PING, 0, 0, bytes(8)) * 300
    settings = _h2(_SETTINGS, 0, 0, struct.pack(">HI", 4, 0)) * 300
    continued = _h2(_HEADERS, 0, 1, head) + _h2(_CONTINUATION, 0, 1, _literals(("x", "y" * 100)) * 100) * 20
    compressed = _h2(_DATA, _END_STREAM, 1, struct.pack(">BI", 1, 8) + bytes(8))
    others = (
        resets,
        pings,
        settings,
        continued,
        _h2(_HEADERS, _END_HEADERS, 1, head) + compressed,
        _h2(_HEADERS, _END_HEADERS, 1, head) + _h2(_DATA, 0, 1, body[:100]) + _h2(_GOAWAY, 0, 0, bytes(8)),
        _h2(_WINDOW, 0, 0, struct.pack(">I", 2**31 - 1)) * 3,
    )
    honest = (start + call,) * 6 + tuple(start + each for each in others)
    return Port(name, socket.AF_INET, ("127.0.0.1", port), honest)


def _h2(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def _literals(*fields: tuple[str, str]) -> bytes:
    """HPACK without its tables: each field in full."""
    return b"".join(
        bytes((0, len(name))) + name.encode() + bytes((len(value),)) + value.encode() for name, value in fields
    )


def _rest(model: str) -> tuple[bytes, ...]:
    image = [[[0.5]] * 28] * 28
    predict = f"/v1/models/{model}:predict"
    posts = (
        (predict, {"instances": [[0]]}),
        (predict, {"instances": [{"images": image}], "signature_name": "serving_default"}),
        (predict, {"inputs": {"images": [image]}}),
        (f"/v1/models/{model}:classify", {"examples": [{"images": [0.5] * 784}], "context": {"x": "y"}}),
        (f"/v1/models/{model}/versions/3:regress", {"examples": [{"images": {"b64": "AAAA"}}]}),
    )
    gets = (f"/v1/models/{model}", f"/v1/models/{model}/metadata", f"/v1/models/{model}/labels/stable/metadata")
    found = [_request("POST", path, json.dumps(body).encode()) for path, body in posts]
    return (*found, *(_request("GET", path, b"") for path in (*gets, "/monitoring/prometheus/metrics")))


def _request(method: str, path: str, body: bytes) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _frame(method: Method, message: bytes) -> bytes:
    return struct.pack("<BII", method, 1000, len(message)) + message
