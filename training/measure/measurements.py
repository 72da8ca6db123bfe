"""How well a chain reads digits: accuracy per noise kind and level, calibration, picture quality, errors. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from services.core import metrics
from services.core.noise import NOISES, Images
from training.data.dataset import Digits
from training.measure.wide import measure_wide

Predict = Callable[[np.ndarray], np.ndarray]

# What the gate compares is measured on validation images; these figures are of the test set and choose nothing.
SEED = 2026  # of the noise on the test images, the same for every run
DRAWS = 5  # of Gaussian noise on every picture; a single one leaves half a point at level 0.75 to luck
LEVELS = (0.25, 0.5, 0.75, 1.0)
HEADLINE = 0.5


@dataclass(frozen=True, slots=True)
class Measurements:
    """What is known about a chain. Accuracies are shares; `alone` is the classifier without the denoiser."""

    images: int
    clean: float
    clean_alone: float
    chain: dict[str, dict[str, float]]  # kind -> level -> accuracy, for Gaussian the mean over DRAWS
    alone: dict[str, dict[str, float]]
    psnr_db: dict[str, float]  # Gaussian level -> mean over the denoised pictures
    ssim: dict[str, float]
    ece: float  # over clean and Gaussian 0.5 together
    confusion: list[list[int]]  # Gaussian 0.5
    wide: dict[str, Any] | None = None  # training/measure/wide.py, where the classifier tells what is no digit

    @property
    def robust_mean(self) -> float:
        """Mean accuracy over all kinds at level 0.5."""
        return float(np.mean([levels[str(HEADLINE)] for levels in self.chain.values()]))

    @property
    def worst_kind(self) -> tuple[str, float]:
        """The kind that hurts most at level 0.5."""
        return min(((kind, levels[str(HEADLINE)]) for kind, levels in self.chain.items()), key=lambda pair: pair[1])

    @property
    def headline(self) -> dict[str, float]:
        """Chain accuracy, clean and at the Gaussian levels: what the release gate looks at."""
        return {"clean": self.clean} | {f"gaussian {level}": value for level, value in self.chain["gaussian"].items()}

    def as_dict(self) -> dict[str, Any]:
        """For results.json and the model cards."""
        kind, accuracy = self.worst_kind
        return asdict(self) | {"robust_mean": self.robust_mean, "worst_kind": kind, "worst_kind_accuracy": accuracy}


def measure(
    denoise: Predict | None, classify: Predict, digits: Digits, *, judge: Predict | None = None
) -> Measurements:
    """Measure everything, each kind and level with noise of its own fixed seed; without a denoiser, chain is alone."""
    clean_scores = classify(_maybe(denoise, digits.images))
    chain: dict[str, dict[str, float]] = {}
    alone: dict[str, dict[str, float]] = {}
    psnr_db: dict[str, float] = {}
    ssim: dict[str, float] = {}
    for kind in NOISES:
        chain[kind], alone[kind] = {}, {}
        for level in LEVELS:
            read, read_alone = [], []
            for draw, noisy in enumerate(_draws(digits.images, kind, level)):
                denoised = _maybe(denoise, noisy)
                scores = classify(denoised)
                read.append(_accuracy(digits, scores))
                read_alone.append(_accuracy(digits, classify(noisy)) if denoise else read[-1])
                if kind == "gaussian" and draw == 0:
                    psnr_db[str(level)] = float(metrics.psnr(digits.images, denoised).mean())
                    ssim[str(level)] = float(metrics.ssim(digits.images, denoised).mean())
                    if level == HEADLINE:
                        headline_scores = scores
            chain[kind][str(level)], alone[kind][str(level)] = float(np.mean(read)), float(np.mean(read_alone))
    both = np.concatenate([clean_scores, headline_scores])
    return Measurements(
        images=len(digits),
        clean=_accuracy(digits, clean_scores),
        clean_alone=_accuracy(digits, classify(digits.images)),
        chain=chain,
        alone=alone,
        psnr_db=psnr_db,
        ssim=ssim,
        ece=metrics.expected_calibration_error(np.tile(digits.labels, 2), both),
        confusion=metrics.confusion_matrix(digits.labels, headline_scores.argmax(axis=1)).tolist(),
        wide=measure_wide(denoise or (lambda images: images), classify, judge, digits) if judge else None,
    )


def measure_headline(denoise: Predict | None, classify: Predict, digits: Digits) -> dict[str, float]:
    """Only what the release gate compares, on the same noise as `measure`."""
    figures = {"clean": _accuracy(digits, classify(_maybe(denoise, digits.images)))}
    for level in LEVELS:
        draws = _draws(digits.images, "gaussian", level)
        read = [_accuracy(digits, classify(_maybe(denoise, noisy))) for noisy in draws]
        figures[f"gaussian {level}"] = float(np.mean(read))
    return figures


def noisy_test_images(clean: Images, kind: str, level: float, *, draw: int = 0) -> Images:
    """The test images with the noise every run is measured on."""
    seed = (SEED, list(NOISES).index(kind), round(100 * level), draw)
    return NOISES[kind](clean, level, np.random.default_rng(seed))


def _draws(clean: Images, kind: str, level: float) -> Iterator[Images]:
    """The noisy pictures that an accuracy is the mean over, one draw after the other."""
    for draw in range(DRAWS if kind == "gaussian" else 1):
        yield noisy_test_images(clean, kind, level, draw=draw)


def _maybe(denoise: Predict | None, images: Images) -> Images:
    return denoise(images) if denoise else images


def _accuracy(digits: Digits, scores: np.ndarray) -> float:
    return metrics.accuracy(digits.labels, scores.argmax(axis=1))
