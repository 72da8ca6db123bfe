"""How far is the accuracy that a running service estimates for itself from the true one? In process, no server.

    python -m services.evaluator.studies.estimate      (`make estimate`)

The service estimates it as the mean confidence of the answers that it accepts (deploy/prometheus/rules/recording.yml),
within a margin: what chance leaves, and a fifth of the share that was rejected. Exit status 1 where the truth lies
outside of the margin.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.core.model_digest import pair
from services.core.noise import NOISES
from services.evaluator.config import EvaluatorConfig
from services.evaluator.data import dataset
from services.evaluator.in_process import OnnxModel
from services.evaluator.measure.experiment import grid
from services.evaluator.report.markdown import target_of
from services.evaluator.report.plots import where

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
MIN_CONFIDENCE = 0.6  # the gateway's default
OF_REJECTED = 0.2  # of the share that was rejected: what the estimate may be off by, beside chance


@dataclass(frozen=True, slots=True)
class EstimateRow:
    """One cell of the grid: shares, 0 to 1."""

    noise: str
    level: float
    accepted: float
    estimated: float  # of the accepted ones
    right: float  # of the accepted ones
    margin: float

    @property
    def off_points(self) -> float:
        """The estimate less the truth."""
        return 100 * (self.estimated - self.right)

    @property
    def is_within_margin(self) -> bool:
        """Whether the truth lies in the interval that the service shows."""
        return abs(self.estimated - self.right) <= self.margin

    def __str__(self) -> str:
        """A line of a Markdown table."""
        shares = " | ".join(f"{100 * share:.2f} %" for share in (self.accepted, self.estimated, self.right))
        target = target_of(self.level)
        met = "met" if abs(self.off_points) <= target else "missed"
        margin = f"±{100 * self.margin:.2f}{'' if self.is_within_margin else ' **outside**'}"
        where_it_is = where(self.noise, self.level)
        return f"| {where_it_is} | {shares} | {self.off_points:+.2f} | {target:g} | {met} | {margin} |"


HEAD = (
    "| noise | accepted | estimated | true | off by, points | target |  | margin of the service |",
    "| --- | ---: | ---: | ---: | ---: | ---: | --- | ---: |",
)


def row(noise: str, level: float, confidence: np.ndarray, is_digit: np.ndarray, right: np.ndarray) -> EstimateRow:
    """What the service would say of these answers, beside the truth."""
    accepted = confidence * is_digit >= MIN_CONFIDENCE
    count, share = int(accepted.sum()), float(accepted.mean())
    if not count:
        return EstimateRow(noise, level, 0.0, 0.0, 0.0, 1.0)
    estimated = float(confidence[accepted].mean(dtype=np.float64))
    margin = 1.96 * float(np.sqrt(estimated * (1 - estimated) / count)) + OF_REJECTED * (1 - share)
    return EstimateRow(noise, level, share, estimated, float(right[accepted].mean()), margin)


def measure(denoiser: OnnxModel, classifier: OnnxModel, data: dataset.Dataset, seed: int) -> Iterator[EstimateRow]:
    """Every cell of the grid, the clean pictures first."""
    for condition in grid(list(NOISES), LEVELS):
        outputs = classifier.outputs(denoiser(condition.apply(data.images, seed)))
        scores = outputs["probabilities"]
        right = scores.argmax(axis=1) == data.labels
        is_digit = outputs.get("is_digit", np.ones(len(right), np.float32))  # from version 2 on
        yield row(condition.noise, condition.level, scores.max(axis=1), is_digit, right)


def main(argv: list[str] | None = None) -> int:
    """Print the table; 1 if the truth lies outside of a margin."""
    config = EvaluatorConfig.from_env()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the two models (models)")
    parser.add_argument("--dataset", type=Path, help="npz file (MNIST's test images)")
    parser.add_argument("--images", type=int, default=10_000, help="how many (10000)")
    parser.add_argument("--report", type=Path, help="write the table into this file too")
    arguments = parser.parse_args(argv)
    data = dataset.load(arguments.dataset).first(arguments.images)
    measured = pair(arguments.models)
    denoiser = OnnxModel(arguments.models / "denoiser" / str(measured.denoiser))
    classifier = OnnxModel(arguments.models / "classifier" / str(measured.classifier))
    lines = [
        f"{len(data):,} images of {data.name}, seed {config.seed}, {measured}. Made by `make estimate`.",
        "",
        "What the service says of itself without labels, the recording rule",
        "`classifier_version:cleardigits_estimated_accuracy:ratio_rate1h`, is the mean confidence of the answers that",
        f"it accepts: certainty at least {MIN_CONFIDENCE}, the default of `MIN_CONFIDENCE`. Beside it the share of",
        "these answers that is right. The target is 0.5 points up to level 0.5 and 1.5 above. The margin that the",
        "service shows (`margin_rate1h`), here for as many pictures, is 1.96 standard errors and a fifth of the share",
        "that was rejected: where much is rejected, what is accepted is worth less than its confidence says.",
        "",
        *HEAD,
    ]
    print("\n".join(lines))
    rows = []
    for found in measure(denoiser, classifier, data, config.seed):
        rows.append(found)
        print(found, flush=True)
    missed = [each for each in rows if abs(each.off_points) > target_of(each.level)]
    outside = [each for each in rows if not each.is_within_margin]
    summary = f"{len(rows) - len(missed)} of {len(rows)} meet the target; {len(outside)} lie outside of the margin."
    print(f"\n{summary}")
    if arguments.report:
        page = ["# Estimated accuracy of accepted answers", "", *lines, *map(str, rows), "", summary]
        arguments.report.write_text("\n".join(page) + "\n")
    return int(bool(outside))


if __name__ == "__main__":
    sys.exit(main())
