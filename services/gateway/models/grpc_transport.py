"""gRPC: for every model server that can be reached over a network. The only file of the gateway that speaks it."""

import json

import grpc

from services.core.lane import Code, Method
from services.gateway.models.transport import OTHER_PROTOCOL, RETRIED, CallFailedError, Metadata

_PATHS = {
    Method.PREDICT: "/tensorflow.serving.PredictionService/Predict",
    Method.GET_MODEL_STATUS: "/tensorflow.serving.ModelService/GetModelStatus",
}
_RETRY = {
    "maxAttempts": 5,  # the most that gRPC allows; round_robin sends each to the next server
    "initialBackoff": "0.02s",
    "maxBackoff": "0.2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": [code.name for code in RETRIED],
}
_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            # Not ModelService: readiness asks again by itself, and a retry would hold its answer back.
            "name": [{"service": "tensorflow.serving.PredictionService"}],
            "retryPolicy": _RETRY,
        }
    ],
}
_NOT_HTTP2 = "Failed parsing HTTP/2"  # gRPC's words where another protocol answers; a test meets HTTP/1 to hold them


class GrpcWire:
    """A channel, made at first use and kept for life."""

    def __init__(self, target: str, *, connect_s: float) -> None:
        self._target = target
        self._connect_s = connect_s
        self._channel: grpc.aio.Channel | None = None
        self._methods: dict[Method, grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = {}

    async def call(self, method: Method, request: bytes, *, timeout_s: float, metadata: Metadata = ()) -> bytes:
        """As Wire.call."""
        if self._channel is None:
            self._channel = _open_channel(self._target, self._connect_s)
            self._methods = {each: self._channel.unary_unary(path) for each, path in _PATHS.items()}
        try:
            answer: bytes = await self._methods[method](request, timeout=timeout_s, metadata=tuple(metadata) or None)
        except grpc.aio.AioRpcError as exc:
            raise _failure(exc) from exc
        return answer

    async def close(self) -> None:
        """Let go of the connection; calls in flight are cancelled."""
        if self._channel is not None:
            await self._channel.close()


def _failure(error: grpc.aio.AioRpcError) -> CallFailedError:
    details = error.details() or ""
    if _NOT_HTTP2 in details:  # UNAVAILABLE to gRPC, which tries again; to its operator, a target that is wrong
        return CallFailedError(Code.INTERNAL, f"{OTHER_PROTOCOL}: {details}")
    return CallFailedError(Code(error.code().value[0]), details)


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
        ("grpc.use_local_subchannel_pool", 1),  # no connection is shared between channels: the shadow's may stall
        ("grpc.enable_http_proxy", 0),  # a model server is never behind the proxy of the environment
    )
    return grpc.aio.insecure_channel(target, options=options)
