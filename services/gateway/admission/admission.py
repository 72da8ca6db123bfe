"""What happens to every request, whichever way it takes: an id, a deadline, a key, a rate; then a line and a count."""

import logging
import random
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from services.core.errors import DeadlineError, ModelRefusedError, OverloadedError, RateLimitedError, ServiceError
from services.gateway.admission.auth import ApiKeys
from services.gateway.admission.context import Visit
from services.gateway.admission.rate_limit import RateLimiter
from services.gateway.config import GatewayConfig
from services.gateway.deadlines import HEADER, Deadline
from services.gateway.metrics import Metrics

if TYPE_CHECKING:  # never imported unless its environment variables ask for it
    from services.gateway.admission.tracing import Tracing

log = logging.getLogger("cleardigits.access")

Header = Callable[[str], str | None]  # lower-case name -> value

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_OPEN = ("/v2/health/",)
_GUARDED = ("/v1/", "/v2")


class Edge:
    """The door: `enter` and `admit` on the way in, `leave` on the way out."""

    def __init__(self, config: GatewayConfig, metrics: Metrics, tracing: "Tracing | None" = None) -> None:
        self.tracing = tracing
        self._config = config
        self._metrics = metrics
        self._keys = ApiKeys.from_file(config.api_keys_file) if config.api_keys_file else None
        self._limiter = (
            RateLimiter(config.rate_limit_per_s, config.rate_limit_burst) if config.rate_limit_per_s else None
        )

    def enter(self, method: str, path: str, header: Header, address: str, *, arrived_s: float | None = None) -> Visit:
        """Every request gets a Visit, before anything can go wrong."""
        self._metrics.request_began()
        given = header("x-request-id")
        request_id = given if given and _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"
        metadata: list[tuple[str, str]] = [("x-request-id", request_id)]
        span, trace = None, header("traceparent")
        if trace and not _TRACEPARENT.fullmatch(trace):
            trace = None
        if self.tracing is not None:
            span, trace = self.tracing.begin(method, path, trace)
        if trace:
            metadata.append(("traceparent", trace))
        client = self._address(header, address)
        return Visit(request_id, method, path, arrived_s or time.monotonic(), metadata, client, span=span)

    def admit(self, visit: Visit, header: Header) -> Deadline:
        """Refuse whom the settings refuse; the deadline of the others."""
        if visit.path.startswith(_GUARDED) and not visit.path.startswith(_OPEN):
            if self._keys is not None:
                visit.client = self._keys.client(header)
            if self._limiter is not None:
                self._limiter.take(visit.client)
        return Deadline.from_header(
            header(HEADER.lower()),
            default_ms=self._config.request_timeout_ms,
            most_ms=self._config.max_request_timeout_ms,
            started_s=visit.started_s,
        )

    def refused(self, error: ServiceError) -> None:
        """Count the refusals that are a choice, of the gateway or of a model server, rather than a mistake."""
        for kind, reason in _REASONS.items():
            if isinstance(error, kind):
                self._metrics.rejected.labels(reason).inc()
                return

    def leave(self, visit: Visit, status: int) -> None:
        """Count the request, and write its line."""
        total_s = time.monotonic() - visit.started_s
        self._metrics.request_ended(visit.route, status, total_s, visit.images)
        if self.tracing is not None and visit.span is not None:
            self.tracing.end(visit.span, visit, status)
        wanted = self._config.access_log
        if wanted == "all" or (wanted == "errors" and status >= 400):
            fields: dict[str, object] = {
                "request_id": visit.request_id,
                "method": visit.method,
                "path": visit.path,
                "route": visit.route,
                "status": status,
                "client": visit.client,
                "images": visit.images,
                "total_ms": round(1e3 * total_s, 2),
            }
            for stage, spent_ms in visit.timings_ms.items():
                fields[f"{stage}_ms"] = spent_ms
            log.info("request", extra=fields)

    def _address(self, header: Header, address: str) -> str:
        """The client's own address: the last of X-Forwarded-For that a trusted proxy did not add itself."""
        proxies = self._config.trusted_proxies
        if proxies:
            hops = [hop.strip() for hop in (header("x-forwarded-for") or "").split(",") if hop.strip()]
            if hops:
                return hops[-min(proxies, len(hops))]
        return address


_REASONS: dict[type[ServiceError], str] = {
    RateLimitedError: "rate-limited",
    OverloadedError: "overloaded",
    DeadlineError: "deadline-exceeded",
    ModelRefusedError: "model-refused",  # no model server counts what it refused for want of a thread
}
