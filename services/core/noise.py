"""Noise kinds: pure functions `(clean, level, rng) -> noisy`, for training, evaluation and tests alike.

Images are float32 batches `(n, 28, 28, 1)` in `[0, 1]`. `level` is one number in `[0, 1]` for the whole batch or one
per image: 0 leaves the pictures as they are, 0.5 is a bad picture (for the Gaussian headline: standard deviation 0.5),
and at 1 people begin to guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

Images = NDArray[np.float32]
Noise = Callable[[Images, ArrayLike, np.random.Generator], Images]

BLUR_LENGTH_PX = 14.0  # at level 1; a digit is at most 20 pixels wide
BLUR_MARGIN_PX = 8  # black border while blurring, so that nothing wraps around to the other side
OCCLUSION_SIDE_PX = 16.0  # at level 1
CONTRAST_LOSS = 0.7  # at level 1; 0.3 of the range is left


def gaussian(clean: Images, level: ArrayLike, rng: np.random.Generator) -> Images:
    """Add normal noise with standard deviation `level`, then clip: the classic `noise_factor`."""
    return _clip(clean + _per_image(level, clean) * _normal(rng, clean.shape))


def salt_and_pepper(clean: Images, level: ArrayLike, rng: np.random.Generator) -> Images:
    """Replace a share of `level / 2` of the pixels, half of them by black and half by white."""
    draw = rng.random(clean.shape, dtype=np.float32)
    quarter = _per_image(level, clean) / 4
    return np.where(draw < quarter, np.float32(0), np.where(draw >= 1 - quarter, np.float32(1), clean))


def speckle(clean: Images, level: ArrayLike, rng: np.random.Generator) -> Images:
    """Multiply every pixel by a normal factor of mean 1 and standard deviation `level`."""
    return _clip(clean + _per_image(level, clean) * _normal(rng, clean.shape) * clean)


def shot(clean: Images, level: ArrayLike, rng: np.random.Generator) -> Images:
    """Count photons: Poisson noise whose standard deviation on a white pixel is `level`."""
    strength = _per_image(level, clean)
    photons_at_white = 1 / np.square(np.maximum(strength, 1e-3))
    counted = rng.poisson(clean * photons_at_white) / photons_at_white
    return np.where(strength > 0, _clip(counted), clean)


def motion_blur(clean: Images, level: ArrayLike, rng: np.random.Generator) -> Images:
    """Smear each picture along a random direction over `14 * level` pixels.

    A straight smear of length L is, in the frequency domain, a factor sinc(L f) along its direction: exact for any
    angle and length, with no kernel to rasterise.
    """
    length = BLUR_LENGTH_PX * _per_image(level, clean)[..., 0]
    angle = rng.uniform(0, np.pi, size=(len(clean), 1, 1)).astype(np.float32)
    margin = BLUR_MARGIN_PX
    padded = np.pad(clean[..., 0], ((0, 0), (margin, margin), (margin, margin)))
    rows, columns = padded.shape[1:]
    along = (
        np.sin(angle) * np.fft.fftfreq(rows)[None, :, None] + np.cos(angle) * np.fft.rfftfreq(columns)[None, None, :]
    )
    transfer = np.sinc(length * along).astype(np.float32)
    smeared = np.fft.irfft2(np.fft.rfft2(padded) * transfer, s=(rows, columns))
    return _clip(smeared[:, margin : rows - margin, margin : columns - margin, None])


def low_contrast(clean: Images, level: ArrayLike, rng: np.random.Generator) -> Images:
    """Squeeze the range towards mid-grey, to 30 % of it at level 1, with Gaussian noise of `level / 4` on top."""
    strength = _per_image(level, clean)
    squeezed = 0.5 + (clean - 0.5) * (1 - CONTRAST_LOSS * strength)
    return _clip(squeezed + strength / 4 * _normal(rng, clean.shape))


def occlusion(clean: Images, level: ArrayLike, rng: np.random.Generator) -> Images:
    """Hide a black square of side `16 * level` pixels at a random place inside each picture."""
    count, height, width = clean.shape[:3]
    side = np.rint(OCCLUSION_SIDE_PX * _per_image(level, clean))[..., 0]
    top = np.floor(rng.random((count, 1, 1)) * (height - side + 1))
    left = np.floor(rng.random((count, 1, 1)) * (width - side + 1))
    row, column = np.arange(height)[None, :, None], np.arange(width)[None, None, :]
    hidden = (row >= top) & (row < top + side) & (column >= left) & (column < left + side)
    return np.where(hidden[..., None], np.float32(0), clean)


def stripes(clean: Images, level: ArrayLike, rng: np.random.Generator) -> Images:
    """Shift whole lines, rows in one half of the pictures and columns in the other, by normal offsets of `level`."""
    count, height, width = clean.shape[:3]
    upright = rng.random((count, 1, 1, 1)) < 0.5
    by_row = _normal(rng, (count, height, 1, 1))
    by_column = _normal(rng, (count, 1, width, 1))
    return _clip(clean + _per_image(level, clean) * np.where(upright, by_column, by_row))


NOISES: Mapping[str, Noise] = MappingProxyType(
    {
        noise.__name__: noise
        for noise in (gaussian, salt_and_pepper, speckle, shot, motion_blur, low_contrast, occlusion, stripes)
    }
)


def _per_image(level: ArrayLike, clean: Images) -> Images:
    """One level, or one per image, in the shape that broadcasts over a batch; refuses what is outside [0, 1]."""
    levels = np.asarray(level, dtype=np.float32)
    if levels.ndim and levels.shape != (len(clean),):
        raise ValueError(f"level is one number or one per image: {len(clean)} images, levels of shape {levels.shape}")
    if not np.all((levels >= 0) & (levels <= 1)):
        raise ValueError(f"noise level is from 0 to 1, not {level}")
    return levels.reshape(-1, 1, 1, 1)


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Images:
    return rng.standard_normal(shape, dtype=np.float32)


def _clip(images: NDArray[np.floating]) -> Images:
    return np.clip(images, 0, 1).astype(np.float32, copy=False)
