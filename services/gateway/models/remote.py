"""The Model protocol, and RemoteModel: TensorFlow Serving's messages over any transport."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message

from services.core.errors import (
    InvalidInputError,
    ModelError,
    ModelNotFoundError,
    ModelRefusedError,
    ModelResponseError,
    ModelTimeoutError,
    ModelUnavailableError,
)
from services.core.lane import SCHEME, Code, Method
from services.core.tensors import from_proto, map_entry
from services.gateway.models.transport import OTHER_PROTOCOL, CallContext, CallFailedError, Metadata, Wire
from services.pb import tfserving_pb2 as pb

M = TypeVar("M", bound=Message)

_EMPTY = np.zeros((1, 28, 28, 1), np.float32)

_ERRORS = {
    Code.NOT_FOUND: ModelNotFoundError,
    Code.UNAVAILABLE: ModelUnavailableError,
    Code.CANCELLED: ModelUnavailableError,  # by a server that ends; calls that we give up raise no error
    Code.RESOURCE_EXHAUSTED: ModelRefusedError,  # TF Serving: all --grpc_max_threads are taken
    Code.FAILED_PRECONDITION: ModelRefusedError,  # TF Serving: another call of the same batch had a wrong shape
    Code.DEADLINE_EXCEEDED: ModelTimeoutError,
}
_SAID = {
    ModelNotFoundError: "is not being served",
    ModelUnavailableError: "cannot be reached",
    ModelRefusedError: "refused the call",
}


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model answered, and which of its versions did."""

    array: np.ndarray
    version: int
    more: Mapping[str, np.ndarray] = field(default_factory=dict)  # further outputs, of versions that have them


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """One version of a model as its server reports it."""

    version: int
    state: str  # START, LOADING, AVAILABLE, UNLOADING or END


class Model(Protocol):
    """Anything that turns a batch of images into arrays: the seam that tests replace."""

    name: str

    async def predict(self, images: np.ndarray, *, call: CallContext) -> Prediction: ...

    async def status(self, *, timeout_s: float) -> list[VersionStatus]: ...

    async def check(self, *, call: CallContext) -> None: ...

    async def close(self) -> None: ...


class RemoteModel:
    """A model in a model server at `target`; its wire is opened at first use, in the process using it."""

    def __init__(
        self,
        target: str,
        *,
        name: str,
        output: str,
        output_shape: tuple[int, ...] | None,
        timeout_s: float,
        connect_s: float = 1.0,
        label: str = "",
        more: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        """`output_shape` is of one row, None where it is that of the images; `more` are outputs it may have besides."""
        self.target = target
        self.name = name
        self.label = label
        self.output = output
        self.output_shape = output_shape
        self.more = more or {}
        self.timeout_s = timeout_s
        self._wire = wire_to(target, connect_s=connect_s)

    async def predict(self, images: np.ndarray, *, call: CallContext) -> Prediction:
        """Ask for `output` of `images`, within the call's deadline; ServiceError of the fitting kind otherwise."""
        spec = _spec(self.name, call.label or self.label, call.version)
        request = b"".join((spec, *map_entry(pb.PredictRequest.INPUTS_FIELD_NUMBER, "images", images)))
        timeout_s = min(self.timeout_s, call.deadline.remaining_s())
        answer = await self._call(Method.PREDICT, request, timeout_s, call.metadata)
        return self._prediction(answer, images.shape)

    async def status(self, *, timeout_s: float) -> list[VersionStatus]:
        """Every version the server knows of, newest first."""
        request = pb.GetModelStatusRequest()
        request.model_spec.name = self.name
        answer = await self._call(Method.GET_MODEL_STATUS, request.SerializeToString(), timeout_s, ())
        response = self._parsed(pb.GetModelStatusResponse, answer)
        found = [
            VersionStatus(item.version, pb.ModelVersionStatus.State.Name(item.state))
            for item in response.model_version_status
        ]
        return sorted(found, key=lambda item: item.version, reverse=True)

    async def check(self, *, call: CallContext) -> None:
        """Ask for an empty picture: ModelResponseError where what answers is not the model that is expected."""
        await self.predict(_EMPTY, call=call)

    async def close(self) -> None:
        """Let go of the connection; calls in flight are cancelled."""
        await self._wire.close()

    async def _call(self, method: Method, request: bytes, timeout_s: float, metadata: Metadata) -> bytes:
        try:
            return await self._wire.call(method, request, timeout_s=timeout_s, metadata=metadata)
        except CallFailedError as exc:
            raise self._error(exc, timeout_s) from exc

    def _error(self, failure: CallFailedError, timeout_s: float) -> ModelError:
        kind = _ERRORS.get(failure.code, ModelResponseError)
        if kind is ModelTimeoutError:
            return ModelTimeoutError(f"{self.name} did not answer in {timeout_s:.1f} s")
        if str(failure).startswith(OTHER_PROTOCOL):
            return ModelResponseError(f"what answers at the target of {self.name} speaks another protocol")
        # Addresses and the server's own words stay in `failure`, which the log gets: callers need neither.
        return kind(f"{self.name} {_SAID.get(kind, 'answered with an error')} ({failure.code.name})")

    def _parsed(self, message: type[M], data: bytes) -> M:
        try:
            return message.FromString(data)
        except DecodeError as exc:
            raise ModelResponseError(f"{self.name} answered bytes that are no {message.__name__}") from exc

    def _prediction(self, data: bytes, asked: tuple[int, ...]) -> Prediction:
        response = self._parsed(pb.PredictResponse, data)
        if self.output not in response.outputs:
            named = ", ".join(sorted(response.outputs)) or "nothing"
            raise ModelResponseError(f"{self.name} answered {named} where {self.output} was expected")
        shape = asked[1:] if self.output_shape is None else self.output_shape
        array = self._array(response.outputs[self.output], (asked[0], *shape))
        more = {
            name: self._array(response.outputs[name], (asked[0], *each))
            for name, each in self.more.items()
            if name in response.outputs
        }
        return Prediction(array, response.model_spec.version.value, more)

    def _array(self, tensor: pb.TensorProto, expected: tuple[int, ...]) -> np.ndarray:
        try:
            array = from_proto(tensor)
        except InvalidInputError as exc:
            raise ModelResponseError(f"{self.name} answered a tensor that cannot be read: {exc}") from exc
        if array.shape != expected or array.dtype != np.float32:
            raise ModelResponseError(
                f"{self.name} answered {array.dtype} {array.shape} where float32 {expected} was expected"
            )
        if not np.isfinite(array).all():
            raise ModelResponseError(f"{self.name} answered numbers that are not finite")
        return array


@lru_cache(maxsize=64)
def _spec(name: str, label: str, version: int | None) -> bytes:
    """The part of a request that says which model is meant; a version goes before a label."""
    request = pb.PredictRequest()
    request.model_spec.name = name
    if version is not None:
        request.model_spec.version.value = version
    elif label:
        request.model_spec.version_label = label
    return request.SerializeToString()


def wire_to(target: str, *, connect_s: float) -> Wire:
    """`lane:/path` is a socket of this machine; everything else is gRPC, imported only where it is spoken."""
    if target.startswith(SCHEME):
        from services.gateway.models.lane_transport import LaneWire

        return LaneWire(Path(target.removeprefix(SCHEME)))
    from services.gateway.models.grpc_transport import GrpcWire

    return GrpcWire(target, connect_s=connect_s)
