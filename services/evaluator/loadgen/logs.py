"""MLPerf LoadGen's own logs -> what they say. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class LoadgenVerdict:
    """LoadGen's judgement of one run, with its figures and, where it is INVALID, its reasons."""

    valid: bool
    figures: dict[str, float]
    reasons: tuple[str, ...]


def verdict(summary: str) -> LoadgenVerdict:
    """Read an mlperf_log_summary.txt."""
    values = dict(re.findall(r"^ *([^:\n*]+?) *: *(\S+) *$", summary, flags=re.MULTILINE))
    figures = {
        _metric(name): float(value) / NS_PER_MS if "(ns)" in name else float(value)
        for name, value in values.items()
        if re.search(r"(?i)latency \(ns\)$|samples per second|QPS w/", name) and "target" not in name
    }
    failed = [name for name, value in values.items() if value == "NO"]
    advice = re.findall(r"^ \* (.+(?:\n [a-z].+)*)", summary, flags=re.MULTILINE)
    valid = values.get("Result is") == "VALID"
    reasons = () if valid else tuple([f"{name}: no" for name in failed] + [" ".join(each.split()) for each in advice])
    return LoadgenVerdict(valid, figures, reasons)


def digits(accuracy_log: str) -> dict[int, int]:
    """Read an mlperf_log_accuracy.json: the digit answered for each sample, one byte each."""
    return {row["qsl_idx"]: bytes.fromhex(row["data"])[0] for row in json.loads(accuracy_log)}


def highest(
    is_valid: Callable[[float], bool],
    start: float,
    *,
    lowest: float = 0.0,
    precision: float = 0.05,
    most_runs: int = 12,
    go_on: Callable[[], bool] = lambda: True,
) -> float:
    """The highest rate found valid, to within `precision` of the lowest found invalid; 0 if none was valid.

    Doubles from `start` until a rate is invalid (or quarters it until one is valid), then bisects; below `lowest`
    nothing is tried, and nothing more when `go_on` says no.
    """
    low, high, rate = 0.0, float("inf"), start
    for _ in range(most_runs):
        if is_valid(rate):
            low = rate
        else:
            high = rate
        if high <= max(lowest, start / 50) or (low and high / low - 1 <= precision) or not go_on():
            break
        if not low:
            rate = max(lowest, high / 4)
        elif high == float("inf"):
            rate = 2 * low
        else:
            rate = (low + high) / 2
    return low


def _metric(name: str) -> str:
    """`99.00 percentile latency (ns)` and its like, short: p99_ms, mean_ms, samples_per_s."""
    if match := re.match(r"([\d.]+)(?:th)? percentile latency", name):
        return f"p{float(match[1]):g}_ms"
    if match := re.match(r"(Min|Max|Mean) latency", name):
        return f"{match[1].lower()}_ms"
    if "samples per second" in name.lower():
        return "scheduled_per_s" if name.startswith("Scheduled") else "samples_per_s"
    return "queries_per_s" if "w/ loadgen" in name else "queries_per_s_without_loadgen"
