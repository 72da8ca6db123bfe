"""gRPC calls for `make fuzz`: messages that are well formed but ask for awkward things, and mutations of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc
import numpy as np
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from services.pb import open_inference_pb2 as oip
from services.pb import tfserving_pb2 as tfs
from services.runtime.reflection import METHOD, SERVICES
from tests.fuzz.mutations import mutated

BUDGET_MS = 2000
BROKEN = frozenset({"UNKNOWN", "INTERNAL", "DATA_LOSS", "no answer"})  # 500 and 502 over HTTP
_OIP = "/inference.GRPCInferenceService/"
_PREDICTION, _MODEL = "/tensorflow.serving.PredictionService/", "/tensorflow.serving.ModelService/"
_HEALTH = "/grpc.health.v1.Health/Check"
_PIXELS = np.full(784, 0.5, "<f4")
_EDGES = (-1, 0, 1, 2, 27, 28, 29, 784, 20_001, 2**31, 2**62, -(2**63))
_METADATA = (
    ("x-request-id", "a b"), ("traceparent", "00-junk"), ("request-timeout-ms", "soon"), ("request-timeout-ms", "1"),
    ("x-forwarded-for", "1.2.3.4, , ::1"), ("authorization", "Bearer"), ("x-odd-bin", b"\xff\0"),
    ("x-long", "y" * 4000), ("content-encoding", "gzip"), ("content-length", "3"),
)  # fmt: skip


@dataclass(frozen=True)
class Call:
    """One call: of which server, and what it may take."""

    kind: str
    server: str  # "gateway", "denoiser" or "classifier"
    path: str
    message: bytes
    metadata: tuple[tuple[str, str | bytes], ...]
    budget_s: float
    timeout_s: float | None  # what the client says; None: it waits for an answer
    compression: grpc.Compression


class Calls:
    """Makes calls, each from its number: any of them can be made again."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def make(self, number: int) -> Call:
        """The call of this number."""
        rng = random.Random(f"{self._seed}/calls/{number}")
        server = rng.choice(("gateway", "gateway", "gateway", "denoiser", "classifier"))
        makers = _OF_GATEWAY if server == "gateway" else _OF_MODEL_SERVER
        path, maker = rng.choice(makers)
        message = maker(rng, server).SerializeToString()
        if changed := rng.random() < 0.5:
            message = mutated(message, rng)
        if rng.random() < 0.02:
            path = rng.choice((path + "x", path.rpartition("/")[0] + "/", "/", _OIP + "RepositoryIndex"))
        metadata = tuple(rng.sample(_METADATA, rng.choice((0, 0, 0, 1, 3))))
        waits = server == "gateway" and rng.random() < 0.5
        timeout_s = None if waits else rng.choice((BUDGET_MS / 1e3, BUDGET_MS / 1e3, 0.05, 0.001))
        if waits and not any(name == "request-timeout-ms" for name, _ in metadata):
            metadata = (*metadata, ("request-timeout-ms", str(BUDGET_MS)))
        return Call(
            f"call {'mutated' if changed else 'crafted'} {server} {path}",
            server,
            path,
            message,
            metadata,
            BUDGET_MS / 1e3,
            timeout_s,
            rng.choice((grpc.Compression.NoCompression,) * 4 + (grpc.Compression.Gzip,)),
        )


def send(channel: grpc.Channel, call: Call, *, patience_s: float = 15.0) -> str:
    """The name of the status that the call ends with; "no message" where a model server could not parse it."""
    future = channel.unary_unary(call.path).future(
        call.message, timeout=call.timeout_s, metadata=call.metadata, compression=call.compression
    )
    try:
        future.result(timeout=call.budget_s + patience_s)
    except grpc.FutureTimeoutError:
        future.cancel()
        return "no answer"
    except grpc.RpcError:
        pass  # its code says how it ended
    code, details = future.code().name, future.details()
    if code == "INTERNAL" and not details and call.server != "gateway":
        return "no message"  # what TensorFlow Serving says of bytes that are none
    return code


def _sizes(rng: random.Random, good: Sequence[int]) -> list[int]:
    sizes = list(good)
    if rng.random() < 0.3:
        for _ in range(rng.randint(1, 2)):
            sizes[rng.randrange(len(sizes))] = rng.choice(_EDGES)
    return sizes if rng.random() < 0.95 else [*sizes, *sizes][: rng.randrange(9)]


def _number(rng: random.Random) -> float:
    return rng.choice((0.0, 1.0, 255.0, -1.0, 3e38, float("inf"), float("nan"), 1e-45))


def _pixels(rng: random.Random, count: int) -> np.ndarray:
    pixels = np.tile(_PIXELS, count)
    if rng.random() < 0.3:
        pixels[rng.randrange(len(pixels))] = _number(rng)
    return pixels[: len(pixels) - rng.choice((0, 0, 0, 0, 1))]


def _model_infer(rng: random.Random, _server: str) -> Message:
    count = rng.choice((1, 1, 2, 9))
    request = oip.ModelInferRequest(
        model_name=rng.choice(("digits", "digits", "denoiser", "classifier", "numbers", "", "x" * 300, "\0")),
        model_version=rng.choice(("", "", "", "1", "x", "9" * 30)),
        id=rng.choice(("", "a", "a\nb", "y" * 2000)),
    )
    for _ in range(rng.choice((1, 1, 1, 1, 0, 2))):
        tensor = request.inputs.add(
            name=rng.choice(("images", "images", "images", "", "other")),
            datatype=rng.choice(("FP32", "FP32", "UINT8", "UINT8", "BYTES", "FP64", "")),
            shape=_sizes(rng, rng.choice(((count, 28, 28, 1), (count, 784), (count, 28, 28)))),
        )
        if rng.random() < 0.5:
            pixels = _pixels(rng, count)
            request.raw_input_contents.append(
                (pixels if tensor.datatype == "FP32" else np.zeros(len(pixels), "u1")).tobytes()
            )
        elif tensor.datatype == "UINT8":
            tensor.contents.uint_contents.extend([rng.choice((0, 255, 255, 256, 2**32 - 1))] * 784 * count)
        else:
            tensor.contents.fp32_contents.extend(_pixels(rng, count).tolist())
    for name in rng.sample(("digit", "probabilities", "denoised", "other"), rng.choice((0, 0, 1, 2))):
        output = request.outputs.add(name=name)
        if rng.random() < 0.4:
            output.parameters[rng.choice(("classification", "classification", "other"))].int64_param = rng.choice(
                _EDGES
            )
    if rng.random() < 0.3:
        parameter = request.parameters[rng.choice(("denoise", "preprocess", "binary_data_output", "other"))]
        match rng.randrange(4):
            case 0:
                parameter.string_param = rng.choice(("auto", "never", "always", "\0", "z" * 3000))
            case 1:
                parameter.bool_param = True
            case 2:
                parameter.double_param = _number(rng)
            case _:
                pass  # set, and without a value
    return request


def _model_ready(rng: random.Random, _server: str) -> Message:
    return oip.ModelReadyRequest(
        name=rng.choice(("digits", "denoiser", "classifier", "numbers", "", "\0", "x" * 5000)),
        version=rng.choice(("", "1", "3", "x", "9" * 30)),
    )


def _spec(rng: random.Random, server: str) -> tfs.ModelSpec:
    spec = tfs.ModelSpec(
        name=rng.choice((server,) * 6 + ("", "x" * 300)),
        signature_name=rng.choice(("", "", "serving_default", "other")),
    )
    match rng.randrange(8):
        case 0:
            spec.version.value = rng.choice(_EDGES)
        case 1:
            spec.version_label = rng.choice(("stable", "", "\0"))
    return spec


def _predict(rng: random.Random, server: str) -> Message:
    count = rng.choice((1, 1, 2, 9))
    request = tfs.PredictRequest(model_spec=_spec(rng, server))
    tensor = request.inputs[rng.choice(("images", "images", "images", "images", "other"))]
    tensor.dtype = rng.choice((1, 1, 1, 1, 2, 3, 7, 0, 19))
    tensor.tensor_shape.dim.extend(
        tfs.TensorShapeProto.Dim(size=size)
        for size in _sizes(rng, rng.choice(((count, 28, 28, 1), (count, 28, 40, 1), (count, 784))))
    )
    if rng.random() < 0.6:
        tensor.tensor_content = _pixels(rng, count).tobytes()
    elif rng.random() < 0.5:
        tensor.float_val.extend(_pixels(rng, count).tolist())
    else:
        tensor.float_val.append(_number(rng))  # TensorFlow repeats the last value up to the shape
    tensor.tensor_shape.unknown_rank = rng.random() < 0.02
    request.output_filter.extend(rng.sample(("denoised", "probabilities", "is_digit", "x"), rng.choice((0, 0, 1))))
    return request


def _input(rng: random.Random) -> tfs.Input:
    example = tfs.Example()
    feature = example.features.feature[rng.choice(("images", "images", "other"))]
    match rng.randrange(4):
        case 0:
            feature.bytes_list.value.append(b"\0" * 784)
        case 1:
            feature.int64_list.value.extend([2**62] * rng.choice((1, 784)))
        case _:
            feature.float_list.value.extend(_pixels(rng, 1).tolist())
    one = example.SerializeToString()
    examples = [one if rng.random() < 0.8 else mutated(one, rng) for _ in range(rng.choice((0, 1, 2)))]
    if rng.random() < 0.5:
        return tfs.Input(example_list=tfs.Input.ExampleList(examples=examples))
    return tfs.Input(
        example_list_with_context=tfs.Input.ExampleListWithContext(examples=examples, context=mutated(one, rng))
    )


def _classify(rng: random.Random, server: str) -> Message:
    return tfs.ClassificationRequest(model_spec=_spec(rng, server), input=_input(rng))


def _multi_inference(rng: random.Random, server: str) -> Message:
    request = tfs.MultiInferenceRequest(input=_input(rng))
    for _ in range(rng.choice((0, 1, 2))):
        request.tasks.add(
            model_spec=_spec(rng, server),
            method_name=rng.choice(("tensorflow/serving/classify", "tensorflow/serving/regress", "")),
        )
    return request


def _metadata(rng: random.Random, server: str) -> Message:
    fields = rng.sample(("signature_def", "other", ""), rng.choice((0, 1, 2)))
    return tfs.GetModelMetadataRequest(model_spec=_spec(rng, server), metadata_field=fields)


def _status(rng: random.Random, server: str) -> Message:
    return tfs.GetModelStatusRequest(model_spec=_spec(rng, server))


def _health(rng: random.Random, server: str) -> Message:
    return health_pb2.HealthCheckRequest(service=rng.choice(("", "digits", server, "inference.GRPCInferenceService")))


def _reflection(rng: random.Random, server: str) -> Message:
    name = rng.choice(("inference.ModelInferRequest", "grpc.health.v1.Health", "tensorflow.serving.PredictRequest", ""))
    field = rng.choice(("list_services", "file_containing_symbol", "file_by_filename"))
    return reflection_pb2.ServerReflectionRequest(host=server, **{field: name})


Maker = Callable[[random.Random, str], Message]
_OF_GATEWAY: tuple[tuple[str, Maker], ...] = (
    *(((_OIP + "ModelInfer", _model_infer),) * 6),
    (_OIP + "ModelReady", _model_ready),
    (_OIP + "ModelMetadata", _model_ready),
    *((_OIP + name, _model_ready) for name in ("ServerLive", "ServerReady", "ServerMetadata")),
    (_HEALTH, _health),
    *((f"/{service}/{METHOD}", _reflection) for service in SERVICES),
)
_OF_MODEL_SERVER: tuple[tuple[str, Maker], ...] = (
    *(((_PREDICTION + "Predict", _predict),) * 5),
    (_PREDICTION + "Classify", _classify),
    (_PREDICTION + "Regress", _classify),
    (_PREDICTION + "MultiInference", _multi_inference),
    (_PREDICTION + "GetModelMetadata", _metadata),
    (_MODEL + "GetModelStatus", _status),
    (_HEALTH, _health),
    *((f"/{service}/{METHOD}", _reflection) for service in SERVICES),
)
