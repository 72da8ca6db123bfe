"""Pictures outside MNIST's frame: moved, turned and scaled digits, what is no digit, and calibration level by level."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np

from services.core import metrics
from services.core.noise import Images, gaussian
from services.core.noise_level import estimate
from training.data.augment import CENTRE_PX, SIDE_PX
from training.data.dataset import Digits
from training.data.outliers import OUTLIERS, letters_in_test_fonts

Predict = Callable[[np.ndarray], np.ndarray]

SEED = 2026
MOVES_PX = (3, 4, 5)
TURN_DEG = 30.0
SCALES = (0.6, 1.3)
ECE_LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
JUDGED_LEVELS = (0.0, 0.5)
KEPT = 0.95  # of the digits, where the accepted share of what is none is told
BINS = 20


def measure_wide(denoise: Predict, classify: Predict, judge: Predict, digits: Digits) -> dict[str, Any]:
    """Everything this module measures, for the cards."""
    return {
        "moved": {name: _pair(denoise, classify, images, digits) for name, images in moved_sets(digits)},
        "ece": _calibration(denoise, classify, digits),
        "is_digit": {f"{level:g}": judged(denoise, judge, digits, level) for level in JUDGED_LEVELS},
        "reference": _reference(denoise, classify, digits),
    }


def auroc(higher: np.ndarray, lower: np.ndarray) -> float:
    """How often a score of the first set lies above one of the second; equal scores count half."""
    below = np.sort(lower)
    places = np.searchsorted(below, higher, "left") + np.searchsorted(below, higher, "right")
    return float(places.mean() / (2 * len(below)))


def affine(images: Images, matrices: np.ndarray) -> Images:
    """Each picture under a 2x3 matrix of its own."""
    pairs = zip(images[..., 0], matrices, strict=True)
    return np.stack([cv2.warpAffine(image, matrix, (SIDE_PX, SIDE_PX)) for image, matrix in pairs])[..., None]


def moved_sets(digits: Digits) -> Iterator[tuple[str, Images]]:
    """Clean digits moved diagonally, turned and scaled, by name."""
    rng, count = np.random.default_rng(SEED), len(digits)
    for distance in MOVES_PX:
        moves = distance * rng.choice([-1.0, 1.0], (count, 2, 1))
        yield f"by {distance} px", affine(digits.images, np.concatenate([_about_centre(np.ones(count)), moves], axis=2))
    turned = _about_centre(np.ones(count), np.deg2rad(rng.uniform(-TURN_DEG, TURN_DEG, count)))
    yield f"turned by up to {TURN_DEG:g} degrees", affine(digits.images, _centred(turned))
    scaled = _about_centre(rng.uniform(*SCALES, count))
    yield f"scaled to {SCALES[0]} to {SCALES[1]}", affine(digits.images, _centred(scaled))


def _about_centre(scales: np.ndarray, turns: np.ndarray | float = 0.0) -> np.ndarray:
    cos, sin = scales * np.cos(turns), scales * np.sin(turns)
    return np.stack([np.stack([cos, -sin]), np.stack([sin, cos])]).transpose(2, 0, 1)


def _centred(linear: np.ndarray) -> np.ndarray:
    return np.concatenate([linear, CENTRE_PX * (1 - linear.sum(axis=2, keepdims=True))], axis=2)


def _pair(denoise: Predict, classify: Predict, images: Images, digits: Digits) -> dict[str, float]:
    """With and without the denoiser."""
    scores = {"chain": classify(denoise(images)), "alone": classify(images)}
    return {name: metrics.accuracy(digits.labels, each.argmax(axis=1)) for name, each in scores.items()}


def _calibration(denoise: Predict, classify: Predict, digits: Digits) -> dict[str, float]:
    found = {}
    for level in ECE_LEVELS:
        noisy = gaussian(digits.images, level, np.random.default_rng((SEED, round(100 * level))))
        found[f"{level:g}"] = metrics.expected_calibration_error(digits.labels, classify(denoise(noisy)))
    return found


def judged(
    denoise: Predict, judge: Predict, digits: Digits, level: float, *, only: str | None = None
) -> dict[str, dict[str, float]]:
    """AUROC of each kind of outlier, in fonts never trained on, and the share accepted when 95 % of digits are kept."""
    rng = np.random.default_rng((SEED, 1, round(100 * level)))
    kept = judge(denoise(gaussian(digits.images, level, rng)))
    threshold = np.quantile(kept, 1 - KEPT)
    sets = {name: make(digits, len(digits), rng) for name, (make, _) in OUTLIERS.items() if name != "letters"}
    sets = {"letters": letters_in_test_fonts(digits, len(digits), rng), **sets}
    found = {}
    for name, images in sets.items():
        if only in (None, name):
            scores = judge(denoise(gaussian(images, level, rng)))
            found[name] = {"auroc": auroc(kept, scores), "accepted": float(np.mean(scores >= threshold))}
    return found


def _reference(denoise: Predict, classify: Predict, digits: Digits) -> dict[str, Any]:
    """Shares of confidence and of estimated noise in 20 equal bins, to compare live traffic with."""
    found: dict[str, Any] = {"edges": [edge / BINS for edge in range(BINS + 1)]}
    for level in JUDGED_LEVELS:
        noisy = gaussian(digits.images, level, np.random.default_rng((SEED, round(100 * level))))
        values = {"confidence": classify(denoise(noisy)).max(axis=1), "noise_level": estimate(noisy)}
        for name, each in values.items():
            counts, _ = np.histogram(np.clip(each, 0, 1), BINS, (0, 1))
            found.setdefault(name, {})["clean" if not level else f"gaussian {level:g}"] = (counts / len(each)).tolist()
    return found
