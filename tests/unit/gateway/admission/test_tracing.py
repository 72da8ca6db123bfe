"""Spans, where OpenTelemetry's variables ask for them."""

import time

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import StatusCode

from services.gateway.admission.admission import Admission
from services.gateway.admission.tracing import Tracing
from services.gateway.config import GatewayConfig, tracing_is_wanted
from services.gateway.metrics import Metrics

TRACE, SPAN = "a" * 32, "b" * 16


class Kept(SpanExporter):
    def __init__(self) -> None:
        self.spans = []

    def export(self, spans):
        self.spans += spans
        return SpanExportResult.SUCCESS


def admitted(headers: dict[str, str], status: int):
    """One request through admission, and its span."""
    kept = Kept()
    tracing = Tracing(kept)
    admission = Admission(GatewayConfig(access_log="none"), Metrics(), tracing)
    found = admission.enter("POST", "/v1/recognize", "", headers, "192.0.2.1", time.monotonic())
    found.route, found.images, found.timings_ms = "/v1/recognize", 3, {"denoise": 1.5}
    admission.leave(found, status)
    tracing.close()
    [span] = kept.spans
    return found, span


def test_a_span_is_the_callers_child_and_the_models_parent():
    found, span = admitted({"traceparent": f"00-{TRACE}-{SPAN}-01"}, 200)

    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == SPAN
    assert dict(found.call.metadata)["traceparent"] == f"00-{TRACE}-{span.context.span_id:016x}-01"


def test_a_request_without_a_trace_begins_one():
    found, span = admitted({}, 200)

    assert span.parent is None
    assert dict(found.call.metadata)["traceparent"].split("-")[1] == f"{span.context.trace_id:032x}"


def test_a_span_says_what_became_of_the_request():
    _, span = admitted({"x-request-id": "mine"}, 503)

    assert span.name == "POST /v1/recognize"
    assert span.status.status_code is StatusCode.ERROR
    assert span.resource.attributes["service.name"] == "cleardigits-gateway"
    expected = {"http.response.status_code": 503, "cleardigits.images": 3, "cleardigits.denoise_ms": 1.5}
    assert expected.items() <= dict(span.attributes).items()
    assert span.attributes["cleardigits.request_id"] == "mine"


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
    ],
)
def test_only_a_collectors_address_switches_it_on(environ, wanted):
    assert tracing_is_wanted(environ) is wanted
