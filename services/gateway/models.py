"""The Model protocol, and GrpcModel: the only file that speaks gRPC."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from services.core.errors import (
    InvalidInputError,
    ModelError,
    ModelNotFoundError,
    ModelResponseError,
    ModelTimeoutError,
    ModelUnavailableError,
)
from services.core.tensors import from_proto, to_proto
from services.gateway.deadlines import Deadline
from services.pb import tfserving_pb2 as pb

Metadata = Sequence[tuple[str, str]]

PREDICT = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"

_RETRY = {
    "maxAttempts": 4,
    "initialBackoff": "0.02s",
    "maxBackoff": "0.2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [
                {"service": "tensorflow.serving.PredictionService"},
                {"service": "tensorflow.serving.ModelService"},
            ],
            "retryPolicy": _RETRY,
        }
    ],
}
_ERRORS = {
    grpc.StatusCode.NOT_FOUND: ModelNotFoundError,
    grpc.StatusCode.UNAVAILABLE: ModelUnavailableError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ModelUnavailableError,  # TF Serving: its batching queue is full or too slow
    grpc.StatusCode.DEADLINE_EXCEEDED: ModelTimeoutError,
}


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model answered, and which of its versions did."""

    array: np.ndarray
    version: int


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """One version of a model as its server reports it."""

    version: int
    state: str  # START, LOADING, AVAILABLE, UNLOADING or END


class Model(Protocol):
    """Anything that turns a batch of images into arrays: the seam that tests replace."""

    name: str

    async def predict(self, images: np.ndarray, *, deadline: Deadline, metadata: Metadata = ()) -> Prediction: ...

    async def status(self, *, timeout_s: float) -> list[VersionStatus]: ...

    async def close(self) -> None: ...


class GrpcModel:
    """A model behind TensorFlow Serving's gRPC interface; its channel is made at first use, in the process using it."""

    def __init__(
        self,
        target: str,
        *,
        name: str,
        output: str,
        output_shape: tuple[int, ...],
        timeout_s: float,
        connect_s: float = 1.0,
        label: str = "",
    ) -> None:
        self.target = target
        self.name = name
        self.label = label
        self.output = output
        self.output_shape = output_shape
        self.timeout_s = timeout_s
        self.connect_s = connect_s
        self._channel: grpc.aio.Channel | None = None

    async def predict(self, images: np.ndarray, *, deadline: Deadline, metadata: Metadata = ()) -> Prediction:
        """Ask for `output` of `images`, within the deadline; ServiceError of the fitting kind otherwise."""
        request = pb.PredictRequest()
        request.model_spec.name = self.name
        if self.label:
            request.model_spec.version_label = self.label
        request.inputs["images"].CopyFrom(to_proto(images))
        timeout_s = min(self.timeout_s, deadline.remaining_s())
        answer = await self._call(PREDICT, request.SerializeToString(), timeout_s, metadata)
        return self._prediction(answer, len(images))

    async def status(self, *, timeout_s: float) -> list[VersionStatus]:
        """Every version the server knows of, newest first."""
        request = pb.GetModelStatusRequest()
        request.model_spec.name = self.name
        answer = await self._call(GET_MODEL_STATUS, request.SerializeToString(), timeout_s, ())
        response = self._parsed(pb.GetModelStatusResponse, answer)
        found = [
            VersionStatus(item.version, pb.ModelVersionStatus.State.Name(item.state))
            for item in response.model_version_status
        ]
        return sorted(found, key=lambda item: item.version, reverse=True)

    async def close(self) -> None:
        """Let go of the connection; calls in flight are cancelled."""
        if self._channel is not None:
            await self._channel.close()

    async def _call(self, path: str, request: bytes, timeout_s: float, metadata: Metadata) -> bytes:
        if self._channel is None:
            self._channel = _open_channel(self.target, self.connect_s)
            self._methods = {path: self._channel.unary_unary(path) for path in (PREDICT, GET_MODEL_STATUS)}
        try:
            return await self._methods[path](request, timeout=timeout_s, metadata=tuple(metadata) or None)
        except grpc.aio.AioRpcError as exc:
            raise self._error(exc, timeout_s) from exc

    def _error(self, exc: grpc.aio.AioRpcError, timeout_s: float) -> ModelError:
        kind = _ERRORS.get(exc.code(), ModelResponseError)
        if kind is ModelTimeoutError:
            return ModelTimeoutError(f"{self.name} did not answer in {timeout_s:.1f} s")
        return kind(f"{self.name}: {exc.code().name}: {exc.details()}")

    def _parsed(self, message: type, data: bytes) -> object:
        try:
            return message.FromString(data)
        except DecodeError as exc:
            raise ModelResponseError(f"{self.name} answered bytes that are no {message.__name__}") from exc

    def _prediction(self, data: bytes, count: int) -> Prediction:
        response = self._parsed(pb.PredictResponse, data)
        if self.output not in response.outputs:
            named = ", ".join(sorted(response.outputs)) or "nothing"
            raise ModelResponseError(f"{self.name} answered {named} where {self.output} was expected")
        try:
            array = from_proto(response.outputs[self.output])
        except InvalidInputError as exc:
            raise ModelResponseError(f"{self.name} answered a tensor that cannot be read: {exc}") from exc
        expected = (count, *self.output_shape)
        if array.shape != expected or array.dtype != np.float32:
            raise ModelResponseError(
                f"{self.name} answered {array.dtype} {array.shape} where float32 {expected} was expected"
            )
        if not np.isfinite(array).all():
            raise ModelResponseError(f"{self.name} answered numbers that are not finite")
        return Prediction(array, response.model_spec.version.value)


def _open_channel(target: str, connect_s: float) -> grpc.aio.Channel:
    options = (
        ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        # Pings go out during calls only: a server's default is to hang up on clients that ping while idle.
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", int(1e3 * connect_s)),  # despite its name: how long one attempt may take
        ("grpc.max_reconnect_backoff_ms", int(1e3 * connect_s)),
        ("grpc.enable_http_proxy", 0),  # a model server is never behind the proxy of the environment
    )
    return grpc.aio.insecure_channel(target, options=options)
