"""One OpenTelemetry span for each request, where OTEL_EXPORTER_OTLP_ENDPOINT says who collects them.

Without that variable nothing here is imported and `traceparent` is passed on as it came. OpenTelemetry's own variables
(OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, ...) mean what they always mean. Packages: requirements/tracing.txt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from services.gateway.admission.context import Request

_W3C = TraceContextTextMapPropagator()


class Tracing:
    """Begins a span for a request and ends it; spans leave in batches, from a thread of their own."""

    def __init__(self, exporter: SpanExporter | None = None) -> None:
        resource = Resource.create()
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):  # OTEL_SERVICE_NAME is not set
            resource = resource.merge(Resource({SERVICE_NAME: "cleardigits-gateway"}))
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("cleardigits.gateway")

    def begin(self, method: str, path: str, traceparent: str | None) -> tuple[Span, str]:
        """A span below the caller's, and the `traceparent` that names it to the model servers."""
        parent = _W3C.extract({"traceparent": traceparent}) if traceparent else None
        span = self._tracer.start_span(
            f"{method} {path}",
            context=parent,
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "url.path": path},
        )
        context = span.get_span_context()
        return span, f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def end(self, span: Span, request: Request, status: int) -> None:
        """What became of the request."""
        span.update_name(f"{request.method} {request.route}")
        span.set_attributes(
            {
                "http.route": request.route,
                "http.response.status_code": status,
                "cleardigits.request_id": request.id,
                "cleardigits.images": request.images,
                **{f"cleardigits.{stage}_ms": spent for stage, spent in request.timings_ms.items()},
            }
        )
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()
