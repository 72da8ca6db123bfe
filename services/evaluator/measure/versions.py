"""How two versions read the same pictures: agreement, accuracy where labels are known, and where they differ. Pure."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.core.noise import Images
from services.evaluator.measure import statistics
from services.evaluator.measure.statistics import Interval

Scores = NDArray[np.float32]

_BOUND = re.compile(r"(agreement|accuracy)>=(\d*\.?\d+)")


@dataclass(frozen=True, slots=True)
class Readings:
    """One kind of pictures, as both versions read them; row i of every array belongs to picture i."""

    kind: str
    images: Images
    first: Scores  # (n, 10)
    second: Scores
    labels: NDArray[np.int64] | None  # None: not known

    @property
    def differing(self) -> NDArray[np.intp]:
        """Places where the digits differ, those where the second is surest first."""
        found = np.flatnonzero(self.first.argmax(axis=1) != self.second.argmax(axis=1))
        return found[np.argsort(-self.second[found].max(axis=1), kind="stable")]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the counts say of one kind of pictures, or of all."""

    kind: str
    total: int
    agreed: int
    first_right: int | None
    second_right: int | None
    p_value: float | None  # of equal accuracy, McNemar
    pairs: tuple[tuple[int, int, int], ...]  # (read by the first, read by the second, how often), most often first

    @property
    def agreement(self) -> float:
        """The share read alike."""
        return self.agreed / self.total

    @property
    def interval(self) -> Interval:
        """Wilson's, of the agreement."""
        return statistics.wilson(self.agreed, self.total)

    @property
    def accuracy(self) -> float | None:
        """Of the second."""
        return None if self.second_right is None else self.second_right / self.total


@dataclass(frozen=True, slots=True)
class Bound:
    """What is required of the verdict over all pictures."""

    text: str
    of: str
    least: float

    def measured(self, verdict: Verdict) -> float | None:
        """The number to hold against the bound; None where no labels are known."""
        return verdict.agreement if self.of == "agreement" else verdict.accuracy

    def met(self, verdict: Verdict) -> bool:
        """A number that is not known meets nothing."""
        value = self.measured(verdict)
        return value is not None and value >= self.least


def bound(text: str) -> Bound:
    """Read one, for argparse."""
    match = _BOUND.fullmatch(text.replace(" ", ""))
    if not match or not 0 <= float(match[2]) <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not like agreement>=0.99, or accuracy>=0.98 of the second")
    return Bound(match[0], match[1], float(match[2]))


def verdict(readings: Readings) -> Verdict:
    """Count."""
    first, second = readings.first.argmax(axis=1), readings.second.argmax(axis=1)
    differ = first != second
    pairs = Counter(zip(first[differ].tolist(), second[differ].tolist(), strict=True))
    right = None if readings.labels is None else (first == readings.labels, second == readings.labels)
    return Verdict(
        kind=readings.kind,
        total=len(first),
        agreed=int((~differ).sum()),
        first_right=None if right is None else int(right[0].sum()),
        second_right=None if right is None else int(right[1].sum()),
        p_value=None if right is None else statistics.mcnemar(*right).p_value,
        pairs=tuple((*pair, count) for pair, count in pairs.most_common()),
    )


def together(parts: Sequence[Readings]) -> Verdict:
    """Over all kinds."""
    labels = [part.labels for part in parts if part.labels is not None]
    return verdict(
        Readings(
            "all",
            np.concatenate([part.images for part in parts]),
            np.concatenate([part.first for part in parts]),
            np.concatenate([part.second for part in parts]),
            np.concatenate(labels) if len(labels) == len(parts) else None,
        )
    )
