"""What the interfaces for messages share: bytes -> request, and the counting of calls."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message

from services.core.errors import ServiceError
from services.model_server.metrics import ServerMetrics
from services.model_server.statuses import Code, StatusError, code_of
from services.model_server.versions.repository import ModelRepository

Call = Callable[[Any, float | None], Any]
AnyMessage = TypeVar("AnyMessage", bound=Message)


class CallCounter:
    """Wraps a call that runs a model: counts it, and times it when it went well."""

    def __init__(self, models: ModelRepository, metrics: ServerMetrics, entrypoint: str) -> None:
        self._models = models
        self._metrics = metrics
        self._entrypoint = entrypoint

    def __call__(self, api: str, call: Call) -> Call:
        def counted(request: Any, deadline: float | None) -> Any:
            started = time.perf_counter()
            name = request.model_spec.name
            try:
                response = call(request, deadline)
            except ServiceError as exc:
                self._metrics.request_count.add((self._models.known_name(name), code_of(exc).name))
                raise
            self._metrics.request_count.add((name, "OK"))
            self._metrics.request_latency.observe((name, api, self._entrypoint), 1e6 * (time.perf_counter() - started))
            return response

        return counted


def parse(request_class: type[AnyMessage], data: bytes) -> AnyMessage:
    """The request, or the error gRPC itself gives for bytes that are none."""
    try:
        return request_class.FromString(data)
    except DecodeError as exc:  # left to gRPC's Python side, it would put a stack trace into our log
        raise StatusError(Code.INTERNAL, "") from exc
