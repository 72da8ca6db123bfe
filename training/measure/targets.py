"""What the shipped pair has to reach, and the table that says how far it got.

python -m training.measure.targets models/classifier/5/model_card.json      # prints the table of training/README.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
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


def _moved(name: str) -> Callable[[Results], float]:
    return lambda results: 100 * results["wide"]["moved"][name]["chain"]


def _lost(results: Results) -> float:
    """The most points that the denoiser costs on clean digits as they are, moved, turned or scaled, or scribbled on."""
    pairs = [(results["clean_alone"], results["clean"])]
    pairs += [(each["alone"], each["chain"]) for each in results["wide"]["moved"].values()]
    pairs += [(results["alone"]["scribble"]["0.5"], results["chain"]["scribble"]["0.5"])]
    return 100 * max(alone - chain for alone, chain in pairs)


def _new_kinds(results: Results) -> list[float]:
    return [100 * results["chain"][kind]["0.5"] for kind in NEW_KINDS]


def _auroc(level: str, *kinds: str) -> Callable[[Results], float]:
    return lambda results: min(results["wide"]["is_digit"][level][kind]["auroc"] for kind in kinds)


def _accepted(level: str) -> Callable[[Results], float]:
    return lambda results: 100 * results["wide"]["is_digit"][level]["letters"]["accepted"]


def _ece(*levels: str) -> Callable[[Results], float]:
    return lambda results: max(results["wide"]["ece"][level] for level in levels)


NEW_KINDS = ("haze", "bright_stripes", "outlines", "scribble", "spatter", "brightness")
NOTHING = ("blank", "textures")  # blank with noise on top is noise

TARGETS = (
    Target("chain, clean images, %", 99.5, 99.6, lambda results: 100 * results["clean"]),
    Target("chain, Gaussian 0.25, %", 99.4, 99.45, _chain("0.25")),
    Target("chain, Gaussian 0.5, %", 98.3, 98.6, _chain("0.5")),
    Target("chain, Gaussian 0.75, %", 93.5, 94.5, _chain("0.75")),
    Target("chain, Gaussian 1.0, %", 83.0, 84.5, _chain("1.0")),
    Target("chain, clean digits moved diagonally by 3 px, %", 99.0, 99.3, _moved("by 3 px")),
    Target("the same by 4 px, %", 98.5, 99.3, _moved("by 4 px")),
    Target("the same by 5 px, %", 97.5, 99.3, _moved("by 5 px")),
    Target("most lost by always denoising: clean, moved, scribbled; points", 0.3, 0.0, _lost, at_most=True),
    Target("mean over the new noise kinds at 0.5, %", 98.0, 98.5, lambda results: mean(_new_kinds(results))),
    Target("worst new noise kind at 0.5, %", 95.0, 97.0, lambda results: min(_new_kinds(results))),
    Target("mean over all noise kinds at 0.5, %", 97.5, 98.5, lambda results: 100 * results["robust_mean"]),
    Target("`is_digit`, AUROC, letters, clean", 0.985, 0.995, _auroc("0", "letters"), digits=4),
    Target("`is_digit`, AUROC, letters, 0.5", 0.96, 0.995, _auroc("0.5", "letters"), digits=4),
    Target("`is_digit`, AUROC, two digits, clean", 0.995, None, _auroc("0", "two_digits"), digits=4),
    Target("`is_digit`, AUROC, two digits, 0.5", 0.98, 0.995, _auroc("0.5", "two_digits"), digits=4),
    Target("`is_digit`, AUROC, blank, noise, textures: worst", 0.999, None, _auroc("0", *NOTHING), digits=4),
    Target("letters accepted where 95 % of digits are, clean, %", 5.0, 2.0, _accepted("0"), at_most=True),
    Target("letters accepted where 95 % of digits are, 0.5, %", 15.0, 2.0, _accepted("0.5"), at_most=True),
    Target("calibration error (ECE), worst of 0, 0.25, 0.5", 0.005, 0.003, _ece("0", "0.25", "0.5"), True, 4),
    Target("calibration error (ECE), worst of 0.75, 1", 0.02, 0.003, _ece("0.75", "1"), at_most=True, digits=4),
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
