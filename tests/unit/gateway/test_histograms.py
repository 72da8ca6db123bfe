"""Counts and histograms, against prometheus-client's own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from services.gateway.histograms import BatchHistogram
from services.gateway.metrics import MULTIPROCESS
from tests.support.stack import ROOT

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


BETWEEN_WORKERS = """
import sys
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from services.gateway.histograms import BatchHistogram, adding

quick = sys.argv[1] == "quick"
named = {"registry": CollectorRegistry()}
counter = Counter("c", "c", ["label"], **named).labels("x")
gauge = Gauge("g", "g", multiprocess_mode="livesum", **named)
histogram = (BatchHistogram if quick else Histogram)("h", "h", ["label"], buckets=(0.1, 0.5), **named)
first = histogram.labels("x")
count, move = (adding(counter), adding(gauge)) if quick else (counter.inc, gauge.inc)
for number in range(2000):  # labels for which the files have to grow
    histogram.labels(str(number))
    Counter(f"c{number}", "c", **named)
    count(2)
    move(1 - number % 3)
    first.observe(number % 7 / 8)
everyone = CollectorRegistry()
MultiProcessCollector(everyone)
wanted = ("c_total", "g ", 'h_sum{label="x"}', 'h_bucket{label="x"', 'h_bucket{le="0.5",label="x"', 'h_count{label="x"')
print("\\n".join(sorted(line for line in generate_latest(everyone).decode().splitlines() if line.startswith(wanted))))
"""


def test_between_workers_it_leaves_behind_what_prometheus_client_does(tmp_path: Path):
    found = {}
    for way in ("quick", "slow"):
        folder = tmp_path / way
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", BETWEEN_WORKERS, way],
            cwd=ROOT,
            env={**os.environ, MULTIPROCESS: str(folder)},
            check=True,
            capture_output=True,
            text=True,
        )
        found[way] = done.stdout

    assert found["quick"] == found["slow"]
    assert 'c_total{label="x"} 4000.0' in found["quick"]
    assert 'h_count{label="x"} 2000.0' in found["quick"]
