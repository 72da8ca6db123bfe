"""SSIM as a training signal: what `services.core.metrics.ssim` measures, in operations that gradients pass through.

The squared distance forgives a faint veil over the black background; to SSIM, as to the eye, a veil is no black.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from services.core.metrics import SSIM_C1, SSIM_C2, ssim_window


def structural_similarity(clean: Any, other: Any) -> Any:
    """One figure per picture, 1 where the two are equal."""
    means = _blur(ops.concatenate([clean, other, clean * clean, other * other, clean * other]))
    mean_a, mean_b, square_a, square_b, product = ops.split(means, 5)
    variances = square_a - mean_a**2 + square_b - mean_b**2
    luminance = (2 * mean_a * mean_b + SSIM_C1) / (mean_a**2 + mean_b**2 + SSIM_C1)
    structure = (2 * (product - mean_a * mean_b) + SSIM_C2) / (variances + SSIM_C2)
    return ops.mean(luminance * structure, axis=(1, 2, 3))


def _blur(pictures: Any) -> Any:
    """Weighted mean under the window, separably, wherever the whole window fits."""
    weights = ssim_window().astype(np.float32)
    for shape in ((len(weights), 1, 1, 1), (1, len(weights), 1, 1)):
        pictures = ops.conv(pictures, weights.reshape(shape), padding="valid")
    return pictures
