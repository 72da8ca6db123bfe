"""The page about the shadow compares windows of the same rounds, and says which shadow misses the target."""

import numpy as np
import pytest

from tests.bench.shadow import report
from tests.bench.shadow.report import AGAIN, NONE, Window


def windows(factor, seed=0):
    """Three rounds, whose latencies are `factor` times those of the same rounds of any other gateway."""
    rng = np.random.default_rng(seed)
    return [Window(factor * rng.gamma(4, size=500), 900.0 * factor) for _ in range(3)]


def found(factor):
    compared = report.compared({NONE: windows(1.0), AGAIN: windows(1.0), "dead": windows(factor)})
    return {
        "machine": {"date": "2026-01-01", "cpu": "a CPU", "cores": 2, "python": "3.11", "models": "1", "rounds": 3,
                    "seconds": 1, "workers": 2},
        "share": 0.1, "capacity_per_s": 800.0, "rate_per_s": 400.0, "gateways": compared,
        "saturated": {"dead": {"requests_per_s": 1.0, "p50_ms": 1.0, "p99_ms": 1.0, "cpu_us": 1.0, "lost": 0}},
        "outcomes": {NONE: {}, "dead": {"failed": 3, "dropped": 1200}},
    }  # fmt: skip


def test_rounds_are_drawn_together_so_that_what_all_have_in_common_cancels():
    ratio = found(1.5)["gateways"]["dead"]["p99_ratio"]

    assert [ratio[name] for name in ("ratio", "low", "high")] == pytest.approx([1.5] * 3, rel=0.01)


def test_the_interval_shows_what_rounds_do_not_have_in_common():
    ratio = report.compared({NONE: windows(1.0), AGAIN: windows(1.0, 1), "dead": windows(1.0, 2)})["dead"]["p99_ratio"]

    assert ratio["low"] < ratio["ratio"] < ratio["high"]


@pytest.mark.parametrize(("factor", "met"), [(1.0, True), (1.015, True), (1.04, False)])
def test_a_shadow_within_two_percent_meets_the_target(factor, met):
    page = report.markdown(found(factor))

    assert report.is_met(found(factor)) is met
    assert ("| met |" in page) is met
    assert ("| **missed** |" in page) is not met


def test_the_page_says_what_became_of_the_shadow_s_pictures_and_what_a_request_costs():
    page = report.markdown(found(1.0))

    assert "| dead | 3 failed, 1,200 dropped |" in page
    assert "| 900 |" in page
