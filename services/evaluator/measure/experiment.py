"""Every noise, level and arm -> counts. Pure, given something that answers for the gateway and for the models."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.core import metrics
from services.core.noise import NOISES, Images
from services.evaluator.client import Denoise
from services.evaluator.data.dataset import Dataset
from services.evaluator.in_process import Difference, difference
from services.evaluator.measure import statistics
from services.evaluator.measure.results import CLEAN, Cell, Confusion, PairedTest, Reliability

Scores = NDArray[np.float32]

CURVE = (1.0, 0.98, 0.96, 0.9, 0.8)  # shares of images that are read, for the error-reject curve


class HttpChain(Protocol):
    """What answers over HTTP."""

    def probabilities(self, images: Images, denoise: Denoise) -> Scores:
        """Ten probabilities for each image."""


class Chain(Protocol):
    """The same models without the way there."""

    def denoise(self, images: Images) -> Images:
        """Clean a batch."""

    def classify(self, images: Images) -> Scores:
        """Ten probabilities for each image."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One noise at one level."""

    noise: str
    level: float

    def apply(self, clean: Images, seed: int) -> Images:
        """The noisy images: the same for the same seed, independent of the rest of the grid."""
        if self.noise == CLEAN:
            return clean
        key = [seed, zlib.crc32(self.noise.encode()), round(1000 * self.level)]
        return NOISES[self.noise](clean, self.level, np.random.default_rng(key))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one condition gave: noisy images, in-process cleaned ones, and each arm's scores over HTTP."""

    condition: Condition
    noisy: Images
    denoised: Images
    scores: dict[Denoise, Scores]
    shares: dict[Denoise, float]  # of images the gateway cleaned before reading
    difference: Difference


def grid(noises: Sequence[str], levels: Sequence[float]) -> list[Condition]:
    """Clean images once, then every kind at every level above 0."""
    clean = [Condition(CLEAN, 0.0)] if 0 in levels else []
    return clean + [Condition(noise, level) for noise in noises for level in levels if level > 0]


def observe(
    condition: Condition,
    dataset: Dataset,
    gateway: HttpChain,
    chain: Chain,
    *,
    arms: Sequence[Denoise],
    seed: int,
    batch: int,
    pool: Executor,
    advance: Callable[[int], None],
) -> Outcome:
    """Send one condition's images through every arm and, while the answers come in, through the models in-process."""
    noisy = condition.apply(dataset.images, seed)

    def ask(job: tuple[Denoise, int]) -> Scores:
        arm, start = job
        part = noisy[start : start + batch]
        scores = gateway.probabilities(part, arm)
        advance(len(part))
        return scores

    jobs = [(arm, start) for arm in arms for start in range(0, len(noisy), batch)]
    answers = pool.map(ask, jobs)
    denoised = chain.denoise(noisy)
    plain, cleaned = chain.classify(noisy), chain.classify(denoised)
    collected = list(answers)
    per_arm = len(jobs) // len(arms)
    scores = {arm: np.concatenate(collected[at * per_arm : (at + 1) * per_arm]) for at, arm in enumerate(arms)}
    expected = {"never": (plain,), "always": (cleaned,), "auto": (plain, cleaned)}
    total = sum((difference(scores[arm], *expected[arm]) for arm in arms), Difference(0, 0, 0.0))
    shares = {arm: _nearer_to(cleaned, plain, scores[arm]) if arm == "auto" else float(arm == "always") for arm in arms}
    return Outcome(condition, noisy, denoised, scores, shares, total)


def cell(outcome: Outcome, arm: Denoise, labels: NDArray[np.int64]) -> Cell:
    """Count what one arm read correctly."""
    scores = outcome.scores[arm]
    right, sure = scores.argmax(axis=1) == labels, scores.max(axis=1)
    interval = statistics.wilson(int(right.sum()), len(labels))
    return Cell(
        noise=outcome.condition.noise,
        level=outcome.condition.level,
        arm=arm,
        correct=int(right.sum()),
        total=len(labels),
        low=interval.low,
        high=interval.high,
        recall=[float(right[labels == digit].mean()) if (labels == digit).any() else None for digit in range(10)],
        ece=statistics.calibration(scores, labels).ece,
        denoised=outcome.shares[arm],
        estimated=float(sure.mean(dtype=np.float64)),
        error_at_read=[(share, statistics.error_of(right, sure, share)) for share in CURVE],
        read_at_error=[(allowed, statistics.read_at(right, sure, allowed)) for allowed in statistics.ERRORS_ALLOWED],
    )


def pairs(outcome: Outcome, labels: NDArray[np.int64]) -> list[PairedTest]:
    """Every two arms against each other, on the same images."""
    arms = list(outcome.scores)
    right = {arm: scores.argmax(axis=1) == labels for arm, scores in outcome.scores.items()}
    found = []
    for at, first in enumerate(arms):
        for second in arms[at + 1 :]:
            test = statistics.mcnemar(right[first], right[second])
            where = (outcome.condition.noise, outcome.condition.level)
            found.append(PairedTest(*where, first, second, test.only_first, test.only_second, test.p_value))
    return found


def confusion(outcome: Outcome, arm: Denoise, labels: NDArray[np.int64]) -> Confusion:
    """Which digits are read as which."""
    counts = metrics.confusion_matrix(labels, outcome.scores[arm].argmax(axis=1))
    return Confusion(outcome.condition.noise, outcome.condition.level, arm, counts.tolist())


def reliability(outcome: Outcome, arm: Denoise, labels: NDArray[np.int64]) -> Reliability:
    """How far the probabilities can be taken at their word."""
    found = statistics.calibration(outcome.scores[arm], labels)
    bins = [(each.confidence, each.accuracy, each.count) for each in found.bins]
    return Reliability(outcome.condition.noise, outcome.condition.level, arm, found.ece, bins)


def _nearer_to(first: Scores, second: Scores, scores: Scores) -> float:
    """Share of rows of `scores` that look like `first` rather than `second`."""
    return float(np.mean(np.abs(scores - first).max(axis=1) < np.abs(scores - second).max(axis=1)))
