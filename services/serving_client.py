"""A client for TensorFlow Serving without TensorFlow: arrays in, arrays out.

    with ServingClient("localhost:8500") as client:
        scores = client.predict("classifier", {"images": images})["probabilities"]

Needs this module, services/core, services/pb, grpcio, NumPy and protobuf. Failures are grpc.RpcError, with TensorFlow
Serving's code and words.
"""

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self, TypeVar

import grpc
import numpy as np
from google.protobuf.message import Message

from services.core.tensors import from_proto, to_proto
from services.pb import tfserving_pb2 as pb

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
TIMEOUT_S = 10.0

_Response = TypeVar("_Response", bound=Message)


class ServingClient:
    """One channel to one model server; threads may share it."""

    def __init__(self, target: str, *, credentials: grpc.ChannelCredentials | None = None) -> None:
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ]
        self._channel = (
            grpc.secure_channel(target, credentials, options) if credentials else grpc.insecure_channel(target, options)
        )

    def predict(
        self,
        model: str,
        inputs: Mapping[str, np.ndarray],
        *,
        version: int | None = None,
        label: str = "",
        signature: str = "",
        outputs: Iterable[str] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> dict[str, np.ndarray]:
        """The outputs by name: all, or those asked for. Without version or label, of the latest version."""
        request = pb.PredictRequest(model_spec=_spec(model, version, label, signature), output_filter=outputs)
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(to_proto(array))
        response = self._call("PredictionService/Predict", request, pb.PredictResponse, timeout_s)
        return {name: from_proto(tensor) for name, tensor in response.outputs.items()}

    def versions(self, model: str, *, timeout_s: float = TIMEOUT_S) -> dict[int, str]:
        """The state of every version the server knows: AVAILABLE, LOADING, END, ..."""
        request = pb.GetModelStatusRequest(model_spec=_spec(model))
        response = self._call("ModelService/GetModelStatus", request, pb.GetModelStatusResponse, timeout_s)
        state = pb.ModelVersionStatus.State
        return {status.version: state.Name(status.state) for status in response.model_version_status}

    def close(self) -> None:
        """Close the channel; calls under way fail."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: str, request: Message, response: type[_Response], timeout_s: float) -> _Response:
        call: Callable[..., _Response] = self._channel.unary_unary(
            f"/tensorflow.serving.{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )
        return call(request, timeout=timeout_s)


def _spec(model: str, version: int | None = None, label: str = "", signature: str = "") -> pb.ModelSpec:
    spec = pb.ModelSpec(name=model, signature_name=signature)
    if version is not None:
        spec.version.value = version
    elif label:
        spec.version_label = label
    return spec
