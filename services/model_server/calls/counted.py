"""What the interfaces for messages share: bytes -> request, and the counting of calls."""

import time
from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError

from services.core.errors import InvalidInputError, ServiceError
from services.model_server.metrics import Metrics
from services.model_server.statuses import code_of
from services.model_server.versions.repository import ModelRepository

Call = Callable[[Any, float | None], Any]


class Counted:
    """Wraps a call that runs a model: counts it, and times it when it went well."""

    def __init__(self, models: ModelRepository, metrics: Metrics, entrypoint: str) -> None:
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


def parse(request_class: type, data: bytes) -> Any:
    """The request, or an error the caller can read."""
    try:
        return request_class.FromString(data)
    except DecodeError as exc:  # left to gRPC, it would be an INTERNAL error with a stack trace in our log
        raise InvalidInputError(f"the request is not a {request_class.__name__}: {exc}") from exc
