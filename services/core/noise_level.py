"""How noisy is each picture, and which of them does the denoiser help? For `denoise=auto`.

The estimate is Immerkaer's (1996): a kernel that a smooth surface and a straight edge both answer with 0, second
difference across times second difference down, leaves noise alone; its mean size is the noise's standard deviation
up to a constant.
"""

from __future__ import annotations

import numpy as np

THRESHOLD = 0.1  # estimates above it are denoised

_TO_SIGMA = np.float32(np.sqrt(np.pi / 2) / 6)


def estimate(images: np.ndarray) -> np.ndarray:
    """The standard deviation of the noise in each of (n, 28, 28, 1) images in [0, 1]: float32 (n,)."""
    pictures = images[..., 0]
    down = pictures[:, :-2] - 2 * pictures[:, 1:-1] + pictures[:, 2:]
    across = down[:, :, :-2] - 2 * down[:, :, 1:-1] + down[:, :, 2:]
    return np.abs(across).mean(axis=(1, 2)) * _TO_SIGMA


def worth_denoising(levels: np.ndarray) -> np.ndarray:
    """Which pictures of these estimated noise levels are read better after the denoiser: bool (n,)."""
    return levels > THRESHOLD
