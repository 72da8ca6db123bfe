"""Thresholds a release has to meet: `gaussian@0.5>=0.98`, `clean/never>=0.99`, `p99_ms<=20`."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass

from services.core.noise import NOISES
from services.evaluator.measure.results import ARMS, CLEAN, Results

_ACCURACY = re.compile(r"(?P<noise>[a-z_]+)(@(?P<level>[\d.]+))?(/(?P<arm>[a-z]+))?>=(?P<bound>[\d.]+)")
_LATENCY = re.compile(r"(?P<name>p50|p90|p95|p99|p99\.9|mean|max)_ms<=(?P<bound>[\d.]+)")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One bound, as it was written, and where to look for the number."""

    text: str
    bound: float
    latency: str = ""  # a percentile of the first latency case; empty: an accuracy
    noise: str = CLEAN
    level: float = 0.0
    arm: str = "always"

    def measured(self, results: Results) -> float | None:
        """The number to hold against the bound; None when the run has none."""
        if self.latency:
            return results.latencies[0].ms.get(self.latency) if results.latencies else None
        cell = results.cell(self.noise, self.level, self.arm)
        return cell.accuracy if cell else None

    def met(self, results: Results) -> bool:
        """A number that was not measured meets nothing."""
        value = self.measured(results)
        if value is None:
            return False
        return value <= self.bound if self.latency else value >= self.bound


def requirement(text: str) -> Requirement:
    """Read one, for argparse."""
    text = text.replace(" ", "")
    if match := _LATENCY.fullmatch(text):
        return Requirement(text, float(match["bound"]), latency=match["name"])
    match = _ACCURACY.fullmatch(text)
    if not match or (match["arm"] or "always") not in ARMS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not like gaussian@0.5>=0.98, clean/never>=0.99 or p99_ms<=20 (arms: {', '.join(ARMS)})"
        )
    noise = CLEAN if match["noise"] == "clean" else match["noise"]
    level = float(match["level"] or 0)
    if noise not in (CLEAN, *NOISES):
        raise argparse.ArgumentTypeError(f"{text!r}: no such noise (kinds: clean, {', '.join(NOISES)})")
    if (noise == CLEAN) != (level == 0):
        raise argparse.ArgumentTypeError(f"{text!r}: a noise needs a level above 0, clean has none")
    return Requirement(text, float(match["bound"]), noise=noise, level=level, arm=match["arm"] or "always")
