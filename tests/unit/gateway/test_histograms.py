"""A batch's numbers in a histogram."""

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from services.gateway.histograms import BatchHistogram

EDGES = (0.1, 0.5, 0.9)


def test_all_at_once_is_what_observing_each_gives(rng):
    values = [0.0, 0.1, 0.5, 0.9, 1.0, 2.0, float(np.float32(0.1)), *rng.random(100).tolist()]
    each, all_at_once = CollectorRegistry(), CollectorRegistry()
    one = Histogram("h", "h", ["label"], buckets=EDGES, registry=each).labels("x")
    for value in values:
        one.observe(value)
    BatchHistogram("h", "h", ["label"], buckets=EDGES, registry=all_at_once).labels("x").observe_all(values)

    assert counts(all_at_once) == counts(each)
    assert total(all_at_once) == pytest.approx(total(each))


def test_an_empty_batch_changes_nothing():
    registry = CollectorRegistry()
    histogram = BatchHistogram("h", "h", buckets=EDGES, registry=registry)
    before = counts(registry)
    histogram.observe_all([])

    assert counts(registry) == before


def total(registry: CollectorRegistry) -> float | None:
    return registry.get_sample_value("h_sum", {"label": "x"})


def counts(registry: CollectorRegistry) -> list[str]:
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if line.startswith(("h_bucket", "h_count"))]
