"""What every request passes, whichever host received it: an id, a key, a rate, a deadline; then a line and a count."""

import random
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from services.core.errors import DeadlineError, ModelRefusedError, OverloadedError, RateLimitedError, ServiceError
from services.gateway.admission.access_log import AccessLog
from services.gateway.admission.auth import ApiKeys
from services.gateway.admission.context import Request
from services.gateway.admission.rate_limit import Buckets, RateLimiter
from services.gateway.config import GatewayConfig
from services.gateway.deadlines import HEADER, Deadline
from services.gateway.metrics import Metrics
from services.gateway.models.transport import CallContext
from services.gateway.split import Split

if TYPE_CHECKING:  # never imported unless its environment variables ask for it
    from services.gateway.admission.tracing import Tracing

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_GRPC_HEALTH = (
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
    "/grpc.health.v1.Health/Check",
)
_OPEN = ("/v2/health/", *_GRPC_HEALTH)
_PROBES = frozenset(("/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready", *_GRPC_HEALTH))
_GUARDED = ("/v1/", "/v2", "/inference.")
_DEADLINE = HEADER.lower()


class Admission:
    """`enter` and `admit` on the way in, `leave` on the way out."""

    def __init__(
        self,
        config: GatewayConfig,
        metrics: Metrics,
        tracing: "Tracing | None" = None,
        buckets: Buckets | None = None,
    ) -> None:
        """`buckets` are those of all workers."""
        self.tracing = tracing
        self._config = config
        self._metrics = metrics
        for reason in _REASONS.values():
            metrics.rejected.labels(reason)  # counted from 0: an alert finds its series before the first refusal
        self._access_log = AccessLog()
        self._split = Split.parsed(config.split)
        self._keys = ApiKeys.from_file(config.api_keys_file) if config.api_keys_file else None
        self._limiter = (
            RateLimiter(config.rate_limit_per_s, config.rate_limit_burst, buckets=buckets)
            if config.rate_limit_per_s
            else None
        )

    def enter(
        self, method: str, path: str, query_string: str, headers: Mapping[str, str], address: str, started_s: float
    ) -> Request:
        """The context of a request, before anything can go wrong. Header names are in lower case."""
        self._metrics.request_began()
        given = headers.get("x-request-id")
        request_id = given if given and _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"
        metadata: list[tuple[str, str]] = [("x-request-id", request_id)]
        span, trace = None, headers.get("traceparent")
        if trace and not _TRACEPARENT.fullmatch(trace):
            trace = None
        if self.tracing is not None:
            span, trace = self.tracing.begin(method, path, trace)
        if trace:
            metadata.append(("traceparent", trace))
        return Request(
            id=request_id,
            method=method,
            path=path,
            query_string=query_string,
            headers=headers,
            client=self._address(headers, address),
            started_s=started_s,
            call=CallContext(Deadline.after(self._config.request_timeout_ms / 1e3, started_s=started_s), metadata),
            span=span,
        )

    def admit(self, request: Request) -> None:
        """Refuse what the settings refuse, by the headers alone; read the request's own deadline and label."""
        if request.path.startswith(_GUARDED) and not request.path.startswith(_OPEN):
            if self._keys is not None:
                request.client = self._keys.client(request.headers.get)
            if self._limiter is not None:
                self._limiter.take(request.client)
        if _DEADLINE in request.headers:
            deadline = Deadline.from_header(
                request.headers[_DEADLINE],
                most_ms=self._config.max_request_timeout_ms,
                started_s=request.started_s,
            )
            request.call = replace(request.call, deadline=deadline)
        if request.method == "POST" and (label := self._split.label_of(request.headers, request.id)):
            request.call = replace(request.call, label=label)

    def refused(self, error: ServiceError) -> None:
        """Count the refusals that are a choice, of the gateway or of a model server, rather than a mistake."""
        for kind, reason in _REASONS.items():
            if isinstance(error, kind):
                self._metrics.rejected.labels(reason).inc()
                return

    def leave(self, request: Request, status: int) -> None:
        """Count the request, and write its line."""
        total_s = time.monotonic() - request.started_s
        if "decode" in request.timings_ms:
            self._metrics.decoded(request.timings_ms["decode"] / 1e3)
        self._metrics.request_ended(request.route, status, total_s, request.images)
        if request.call.label and request.images:
            self._metrics.label_answered(request.call.label, status, total_s)
        if self.tracing is not None and request.span is not None:
            self.tracing.end(request.span, request, status)
        wanted = self._config.access_log
        if wanted == "all" or (wanted == "errors" and status >= 400):
            fields: dict[str, object] = {
                "request_id": request.id,
                "method": request.method,
                "path": request.path,
                "route": request.route,
                "status": status,
                "client": request.client,
                "images": request.images,
                "total_ms": round(1e3 * total_s, 2),
            }
            if request.call.label:
                fields["label"] = request.call.label
            for stage, spent_ms in request.timings_ms.items():
                fields[f"{stage}_ms"] = spent_ms
            # Probes come every few seconds, and are always the same while all is well.
            quiet = status < 400 and request.path in _PROBES
            self._access_log.write(fields, quiet=quiet)

    def close(self) -> None:
        """Write the lines that wait, and send the spans that are left."""
        self._access_log.flush()
        if self.tracing is not None:
            self.tracing.close()

    def _address(self, headers: Mapping[str, str], address: str) -> str:
        """The client's own address: the last of X-Forwarded-For that a trusted proxy did not add itself."""
        proxies = self._config.trusted_proxies
        if proxies:
            hops = [hop.strip() for hop in headers.get("x-forwarded-for", "").split(",") if hop.strip()]
            if hops:
                return hops[-min(proxies, len(hops))]
        return address


_REASONS: dict[type[ServiceError], str] = {
    RateLimitedError: "rate-limited",
    OverloadedError: "overloaded",
    DeadlineError: "deadline-exceeded",
    ModelRefusedError: "model-refused",  # no model server counts what it refused for want of a thread
}
