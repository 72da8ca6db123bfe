"""Build the gRPC server and its health service, and stop it without losing a call."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2

from services.core.errors import ConfigError
from services.model_server.config import CPUS, MAX_MESSAGE_BYTES, ServerConfig
from services.model_server.interfaces.grpc_api import run_in
from services.model_server.model_config import read_text_proto
from services.model_server.versions.repository import ModelRepository
from services.pb import tfserving_pb2 as pb

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

# TensorFlow Serving registers the bare names; the full ones are what a client would guess.
_WHOLE_SERVER = (
    "",
    "ModelService",
    "PredictionService",
    "tensorflow.serving.ModelService",
    "tensorflow.serving.PredictionService",
)


def build_server(config: ServerConfig, handlers: list[grpc.GenericRpcHandler]) -> grpc.Server:
    """A server with nothing bound yet."""
    threads = config.grpc_max_threads or 4 * CPUS
    return grpc.server(
        ThreadPoolExecutor(threads, thread_name_prefix="grpc"),
        handlers=handlers,
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.so_reuseport", 0),  # a port in use is an error, not a share of another server's calls
            *_channel_arguments(config.grpc_channel_arguments),
        ],
    )


def bind(server: grpc.Server, config: ServerConfig) -> int:
    """Bind the port and the UNIX socket that are asked for; the port bound, 0 for none."""
    host = f"[{config.host}]" if ":" in config.host else config.host  # IPv6
    addresses = [f"{host}:{config.port}"] if config.port else []
    if config.grpc_socket_path:
        addresses.append(f"unix:{config.grpc_socket_path}")
    credentials = _credentials(config.ssl_config_file)
    port = 0
    for address in addresses:
        try:
            bound = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        except RuntimeError as exc:
            why = ", or do key and certificate of --ssl_config_file not belong together" if credentials else ""
            raise ConfigError(f"cannot listen for gRPC on {address}: is the port in use{why}?") from exc
        port = port or bound
    return port


class HealthReporter:
    """grpc.health.v1, following the models: the whole server is SERVING when each model can answer."""

    def __init__(self, server: grpc.Server, models: ModelRepository, control: ThreadPoolExecutor) -> None:
        self._servicer = health.HealthServicer()
        self._models = models
        methods = {
            "Check": _check_in(control, self._servicer.Check),
            "Watch": grpc.unary_stream_rpc_method_handler(
                self._servicer.Watch, health_pb2.HealthCheckRequest.FromString, _serialized
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(health.SERVICE_NAME, methods),))
        models.on_change(self.update)

    def update(self) -> None:
        """Say what is so now, for the server and for each model under its own name."""
        availability = self._models.availability()
        for name in _WHOLE_SERVER:
            self._servicer.set(name, SERVING if all(availability.values()) else NOT_SERVING)
        for name, available in availability.items():
            self._servicer.set(name, SERVING if available else NOT_SERVING)

    def leave(self) -> None:
        """NOT_SERVING from here on, independent of the models."""
        self._servicer.enter_graceful_shutdown()


def _check_in(pool: ThreadPoolExecutor, check: Callable[..., object]) -> grpc.RpcMethodHandler[Any, Any]:
    """Check in the threads of `pool`. The request is parsed here, since grpcio logs a traceback where it cannot."""

    def checked(data: bytes, context: grpc.ServicerContext) -> object:
        try:
            request = health_pb2.HealthCheckRequest.FromString(data)
        except DecodeError:
            context.abort(grpc.StatusCode.INTERNAL, "")  # as TensorFlow Serving says it
        return check(request, context)

    run_in(pool, checked)
    return grpc.unary_unary_rpc_method_handler(checked, response_serializer=_serialized)


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()


def _channel_arguments(text: str) -> list[tuple[str, int | str]]:
    """`grpc.max_connection_age_ms=2000,...` as gRPC takes them."""
    arguments: list[tuple[str, int | str]] = []
    for pair in filter(None, text.split(",")):
        name, separator, value = pair.partition("=")
        if not separator:
            raise ConfigError(f"--grpc_channel_arguments: {pair!r} is not name=value")
        arguments.append((name.strip(), int(value) if value.lstrip("-").isdigit() else value))
    return arguments


def _credentials(path: str) -> grpc.ServerCredentials | None:
    if not path:
        return None
    ssl = read_text_proto(path, pb.SSLConfig)  # TensorFlow Serving's form: the PEM text itself is in the file
    return grpc.ssl_server_credentials(
        [(ssl.server_key.encode(), ssl.server_cert.encode())],
        root_certificates=ssl.custom_ca.encode() or None,
        require_client_auth=ssl.client_verify,
    )
