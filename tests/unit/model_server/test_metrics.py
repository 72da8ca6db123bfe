"""The metrics page is Prometheus' text form, under TensorFlow Serving's names."""

from prometheus_client.parser import text_string_to_metric_families

from services.model_server.metrics import ServerMetrics


def _samples(metrics):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.expose().decode())
        for sample in family.samples
    }


def test_counters_keep_their_name():
    metrics = ServerMetrics()
    metrics.request_count.add(("denoiser", "OK"))
    metrics.request_count.add(("denoiser", "OK"))

    name = ":tensorflow:serving:request_count"
    assert f'{name}{{model_name="denoiser",status="OK"}} 2'.encode() in metrics.expose()
    assert f"# TYPE {name} counter".encode() in metrics.expose()


def test_histograms_are_cumulative_and_end_at_infinity():
    metrics = ServerMetrics()
    for latency in (5.0, 10.0, 11.0, 1e12):
        metrics.request_latency.observe(("m", "Predict", "GRPC"), latency)

    samples = _samples(metrics)
    labels = (("API", "Predict"), ("entrypoint", "GRPC"))
    name = ":tensorflow:serving:request_latency"
    assert samples[(f"{name}_bucket", *labels, ("le", "10"), ("model_name", "m"))] == 2
    assert samples[(f"{name}_bucket", *labels, ("le", "18"), ("model_name", "m"))] == 3
    assert samples[(f"{name}_bucket", *labels, ("le", "+Inf"), ("model_name", "m"))] == 4
    assert samples[(f"{name}_count", *labels, ("model_name", "m"))] == 4


def test_a_label_may_hold_anything():
    """(The parser adds `_total` to a counter's name; on the page there is none.)"""
    metrics = ServerMetrics()
    metrics.request_count.add(('a"b\\c\nd', "OK"))

    assert (":tensorflow:serving:request_count_total", ("model_name", 'a"b\\c\nd'), ("status", "OK")) in _samples(
        metrics
    )


def test_totals_are_found_by_tensorflows_name():
    metrics = ServerMetrics()
    metrics.request_count.add(("m", "OK"))
    metrics.request_count.add(("n", "NOT_FOUND"))

    assert metrics.value("/tensorflow/serving/request_count") == 2
    assert metrics.value("/tensorflow/serving/unheard_of") == 0
