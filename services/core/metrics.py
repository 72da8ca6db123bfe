"""How good, how clean, how fast: accuracy, confusion, calibration, PSNR, SSIM, percentiles, in plain NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from services.core.noise import Images

SSIM_WINDOW_PX = 11
SSIM_SIGMA_PX = 1.5
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # for pixels in [0, 1]
CALIBRATION_BINS = 15
CLASSES = 10
PERCENTILES = (50, 90, 95, 99, 99.9)


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Answers of about the same confidence: how sure they were on average, and how often they were right."""

    confidence: float
    accuracy: float
    count: int


def accuracy(labels: ArrayLike, digits: ArrayLike) -> float:
    """The share of digits that were read right."""
    return float(np.mean(np.asarray(labels) == np.asarray(digits)))


def confusion_matrix(labels: ArrayLike, digits: ArrayLike) -> NDArray[np.int64]:
    """Counts, one row per true label and one column per digit read."""
    cells = np.asarray(labels).astype(np.int64) * CLASSES + np.asarray(digits)
    return np.bincount(cells, minlength=CLASSES * CLASSES).reshape(CLASSES, CLASSES)


def calibration_bins(labels: ArrayLike, probabilities: ArrayLike) -> tuple[CalibrationBin, ...]:
    """Answers by confidence, in equally wide bins; empty ones are left out."""
    scores = np.asarray(probabilities)
    confidence = scores.max(axis=1).astype(np.float64)
    right = scores.argmax(axis=1) == np.asarray(labels)
    place = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    weights = np.ones(len(place)), confidence, right
    counts, sums, hits = (np.bincount(place, each, CALIBRATION_BINS) for each in weights)
    return tuple(
        CalibrationBin(float(sums[here] / counts[here]), float(hits[here] / counts[here]), int(counts[here]))
        for here in np.flatnonzero(counts)
    )


def expected_calibration_error(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """ECE: how far confidence and accuracy lie apart, averaged over equally wide bins of confidence."""
    return calibration_error(calibration_bins(labels, probabilities))


def calibration_error(bins: Sequence[CalibrationBin]) -> float:
    """The ECE of answers that are in bins already."""
    return sum(each.count * abs(each.confidence - each.accuracy) for each in bins) / sum(each.count for each in bins)


def psnr(clean: Images, other: Images) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio of each picture in dB; infinite where the two are equal."""
    squared_error = np.square(clean.astype(np.float64) - other).mean(axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        return -10 * np.log10(squared_error)


def ssim(clean: Images, other: Images) -> NDArray[np.float64]:
    """Structural similarity of each picture (Wang et al. 2004), with whole 11x11 Gaussian windows of sigma 1.5 only."""
    a, b = clean[..., 0].astype(np.float64), other[..., 0].astype(np.float64)
    mean_a, mean_b = _blur(a), _blur(b)
    variance_a, variance_b = _blur(a * a) - mean_a**2, _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + SSIM_C1) / (mean_a**2 + mean_b**2 + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (variance_a + variance_b + SSIM_C2)
    return (luminance * structure).mean(axis=(1, 2))


def percentiles(values: ArrayLike) -> dict[str, float]:
    """`{"p50": ..., "p99.9": ...}`; of nothing, nothing."""
    if not np.size(values):
        return {}
    return {
        f"p{point:g}": float(value)
        for point, value in zip(PERCENTILES, np.percentile(np.asarray(values), PERCENTILES), strict=True)
    }


def _blur(pictures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted mean under the window, separably, wherever the whole window fits."""
    distance = np.arange(SSIM_WINDOW_PX) - SSIM_WINDOW_PX // 2
    weights = np.exp(-(distance**2) / (2 * SSIM_SIGMA_PX**2))
    weights /= weights.sum()
    by_column = sliding_window_view(pictures, SSIM_WINDOW_PX, axis=1) @ weights
    return sliding_window_view(by_column, SSIM_WINDOW_PX, axis=2) @ weights
