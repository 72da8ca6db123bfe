"""What may be concluded from counts: intervals, paired tests, calibration. Pure; SciPy does the distributions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from services.core import metrics

CONFIDENCE = 0.95
ERRORS_ALLOWED = (0.005, 0.001)  # of what is read, where unsure answers may be rejected


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of a proportion."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class McNemar:
    """Two classifiers on the same images: how often only one was right, and the chance of such a gap by luck."""

    only_first: int
    only_second: int
    p_value: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Does a confidence of 0.9 mean nine right answers in ten? `ece` is the average gap, weighted by count."""

    ece: float
    bins: tuple[metrics.CalibrationBin, ...]


def wilson(correct: int, total: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval: still honest close to 100 %, where the textbook interval leaves [0, 1]."""
    interval = stats.binomtest(correct, total).proportion_ci(confidence, method="wilson")
    return Interval(float(interval.low), float(interval.high))


def mcnemar(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> McNemar:
    """The exact paired test: only images on which the two disagree say anything about which one is better."""
    only_first = int(np.sum(first_right & ~second_right))
    only_second = int(np.sum(~first_right & second_right))
    disagreements = only_first + only_second
    p_value = stats.binomtest(only_first, disagreements).pvalue if disagreements else 1.0
    return McNemar(only_first, only_second, float(p_value))


def two_proportions(correct_a: int, total_a: int, correct_b: int, total_b: int) -> float:
    """p value of "both have the same accuracy" for two unpaired runs (chi-square with continuity correction)."""
    table = [[correct_a, total_a - correct_a], [correct_b, total_b - correct_b]]
    if not all(map(sum, zip(*table, strict=True))):  # both all right or all wrong: nothing to tell them apart
        return 1.0
    return float(stats.chi2_contingency(table).pvalue)


def false_discovery_adjusted(p_values: Sequence[float]) -> list[float]:
    """Benjamini-Hochberg: with a hundred comparisons, five come out below 0.05 by luck alone."""
    return stats.false_discovery_control(p_values).tolist() if p_values else []


def calibration(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> Calibration:
    """Expected calibration error over equal-width bins of the winning probability; empty bins are left out."""
    bins = metrics.calibration_bins(labels, probabilities)
    return Calibration(metrics.calibration_error(bins), bins)


def read_at(right: NDArray[np.bool_], sure: NDArray[np.floating], allowed: float) -> float:
    """The largest share, surest first, of which no more than `allowed` is wrong. Answers equally sure go together."""
    order = np.argsort(-sure, kind="stable")
    wrong = np.cumsum(~right[order]) / np.arange(1, len(right) + 1)
    ends = np.append(sure[order][1:] != sure[order][:-1], True)
    within = np.flatnonzero((wrong <= allowed) & ends)
    return (int(within[-1]) + 1) / len(right) if len(within) else 0.0


def error_of(right: NDArray[np.bool_], sure: NDArray[np.floating], share: float) -> float:
    """How many of the surest `share` are wrong."""
    surest = np.argsort(-sure, kind="stable")[: max(round(share * len(right)), 1)]
    return float(1 - right[surest].mean())
