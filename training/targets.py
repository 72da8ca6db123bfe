"""What the shipped pair has to reach, and the table that says how far it got.

python -m training.targets models/classifier/1/model_card.json      # prints the table of training/README.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Results = Mapping[str, Any]  # Measurements.as_dict(), as in results.json and the cards


@dataclass(frozen=True, slots=True)
class Target:
    """One line of the table; `at_most` marks figures that are better when smaller."""

    measure: str
    target: float
    stretch: float | None
    reached: Callable[[Results], float]
    at_most: bool = False
    digits: int = 2

    def met(self, results: Results) -> bool:
        """Whether the target, not the stretch, is reached."""
        value = self.reached(results)
        return value <= self.target if self.at_most else value >= self.target


def _chain(level: str) -> Callable[[Results], float]:
    return lambda results: 100 * results["chain"]["gaussian"][level]


def _alone(level: str) -> Callable[[Results], float]:
    return lambda results: 100 * results["alone"]["gaussian"][level]


TARGETS = (
    Target("chain, clean images, %", 99.5, 99.6, lambda results: 100 * results["clean"]),
    Target("chain, Gaussian 0.25, %", 99.35, 99.45, _chain("0.25")),
    Target("chain, Gaussian 0.5, %", 98.2, 98.6, _chain("0.5")),
    Target("chain, Gaussian 0.75, %", 93.3, 94.5, _chain("0.75")),
    Target("chain, Gaussian 1.0, %", 82.0, 84.0, _chain("1.0")),
    Target(
        "lost on clean images by always denoising, points",
        0.1,
        0.05,
        lambda results: 100 * (results["clean_alone"] - results["clean"]),
        at_most=True,
    ),
    Target("classifier alone, Gaussian 0.25, %", 98.8, None, _alone("0.25")),
    Target("classifier alone, Gaussian 0.5, %", 96.0, None, _alone("0.5")),
    Target("mean over all noise kinds at 0.5, %", 97.5, 98.5, lambda results: 100 * results["robust_mean"]),
    Target("worst noise kind at 0.5, %", 93.0, None, lambda results: 100 * results["worst_kind_accuracy"]),
    Target("calibration error (ECE), clean + 0.5", 0.01, 0.005, lambda results: results["ece"], at_most=True, digits=4),
    Target("PSNR at 0.5, dB", 20.0, 20.8, lambda results: results["psnr_db"]["0.5"]),
    Target("SSIM at 0.5", 0.86, 0.88, lambda results: results["ssim"]["0.5"], digits=3),
)


def table(results: Results) -> str:
    """Markdown: measure, target, stretch, reached."""
    lines = ["| measure | target | stretch | reached | |", "| --- | ---: | ---: | ---: | --- |"]
    for each in TARGETS:
        sign = "≤" if each.at_most else "≥"
        stretch = "–" if each.stretch is None else f"{sign} {each.stretch:g}"
        verdict = "met" if each.met(results) else "missed"
        reached = f"{each.reached(results):.{each.digits}f}"
        lines.append(f"| {each.measure} | {sign} {each.target:g} | {stretch} | {reached} | {verdict} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(json.loads(Path(sys.argv[1]).read_text())["results"]))
