"""Noise kinds: pure functions `(clean, level, rng) -> noisy`, for training, evaluation and tests alike.

Images are float32 batches `(n, height, width, 1)` in `[0, 1]`, a digit 28x28, a line of digits wider. `level` is one
number in `[0, 1]` for the whole batch or one per image: 0 leaves the pictures as they are, 0.5 is a bad picture (for
the Gaussian headline: standard deviation 0.5), and at 1 people begin to guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Images = NDArray[np.float32]
Noise = Callable[[Images, ArrayLike, np.random.Generator], Images]

BLUR_LENGTH_PX = 14.0  # at level 1; a digit is at most 20 pixels wide
BLUR_MARGIN_PX = 8  # black border while blurring, so that nothing wraps around to the other side
OCCLUSION_SIDE_PX = 16.0  # at level 1
CONTRAST_LOSS = 0.7  # at level 1; 0.3 of the range is left
HAZE_LEAST = 0.3  # the haze where it is thinnest, to where it is thickest
HAZE_GRID = 4  # random values across a picture, bilinear in between
STRIPE_PERIOD_PX = (8.0, 16.0)  # half of it bright
ERODING = np.ones((3, 3), np.uint8)
FADED = 0.5  # what is left of an outline at level 1
SCRIBBLED_LINES = 6  # at level 1, in a picture as wide as it is high
DROPS = 20  # at level 1, likewise
DROP_RADIUS_PX = (0.5, 2.0)
EXPOSURE = 0.8  # at level 1
SUBPIXELS = 4  # bits of a pixel that OpenCV draws to


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


def haze(clean: Images, level: ArrayLike, rng: np.random.Generator) -> Images:
    """Lighten the background unevenly, to `level` where the haze is thickest; white stays white."""
    count, height, width = clean.shape[:3]
    grid = rng.uniform(HAZE_LEAST, 1, (count, HAZE_GRID, HAZE_GRID)).astype(np.float32)
    grid /= grid.max(axis=(1, 2), keepdims=True)
    thickness = _bilinear(height) @ grid @ _bilinear(width).T
    return _clip(clean + (1 - clean) * _per_image(level, clean) * thickness[..., None])


def bright_stripes(clean: Images, level: ArrayLike, rng: np.random.Generator) -> Images:
    """Add `level` in broad stripes, 4 to 8 pixels wide, at any angle."""
    count, height, width = clean.shape[:3]
    angle, phase = rng.uniform(0, np.pi, (count, 1, 1)), rng.uniform(0, 1, (count, 1, 1))
    period = rng.uniform(*STRIPE_PERIOD_PX, (count, 1, 1))
    across = np.cos(angle) * np.arange(width)[None, None, :] + np.sin(angle) * np.arange(height)[None, :, None]
    place = np.abs((across / period + phase) % 1 - 0.5) * period  # pixels from the middle of the stripe
    bright = np.clip(period / 4 - place + 0.5, 0, 1).astype(np.float32)
    return _clip(clean + _per_image(level, clean) * bright[..., None])


def outlines(clean: Images, level: ArrayLike, rng: np.random.Generator) -> Images:
    """Hollow the strokes out: at level 0.5 only their outlines are left, which fade to half by level 1."""
    strength = _per_image(level, clean)
    inside = np.array([cv2.erode(picture, ERODING) for picture in clean[..., 0]], np.float32).reshape(clean.shape)
    outline = clean - np.minimum(1, 2 * strength) * inside
    return _clip(outline * (1 - (1 - FADED) * np.maximum(0, 2 * strength - 1)))


def scribble(clean: Images, level: ArrayLike, rng: np.random.Generator) -> Images:
    """Draw a white zigzag of `6 * level` lines over each picture; above level 0.5 it may be two pixels thick."""
    levels = np.broadcast_to(_per_image(level, clean)[:, 0, 0, 0], len(clean))
    height, width = clean.shape[1:3]
    noisy = clean.copy()
    for picture, strength in zip(noisy, levels, strict=True):
        lines = int(np.ceil(SCRIBBLED_LINES * strength * width / height))
        corners = rng.uniform(-1, 1, (lines + 1, 2)) * (0.15, 0.5)
        corners[:, 0] += np.linspace(-0.5, 0.5, lines + 1)
        turn = rng.uniform(0, np.pi) if width == height else 0.0
        cos, sin = np.cos(turn), np.sin(turn)
        points = (corners @ np.array([[cos, sin], [-sin, cos]]) + 0.5) * (width, height)
        thickness = 1 + int(strength > 0.5 and rng.random() < 0.5)
        if lines:
            _draw_lines(picture[..., 0], points, thickness)
    return noisy


def spatter(clean: Images, level: ArrayLike, rng: np.random.Generator) -> Images:
    """Spatter each picture with `20 * level` white drops of up to 2 pixels' radius."""
    levels = np.broadcast_to(_per_image(level, clean)[:, 0, 0, 0], len(clean))
    height, width = clean.shape[1:3]
    noisy = clean.copy()
    for picture, strength in zip(noisy, levels, strict=True):
        drops = int(np.ceil(DROPS * strength * width / height))
        canvas = np.zeros((height, width), np.uint8)
        centres = np.rint(rng.random((drops, 2)) * (width, height) * 2**SUBPIXELS).astype(int)
        radii = np.rint(rng.uniform(*DROP_RADIUS_PX, drops) * 2**SUBPIXELS).astype(int)
        for centre, radius in zip(centres.tolist(), radii.tolist(), strict=True):
            cv2.circle(canvas, centre, radius, 255, -1, cv2.LINE_AA, SUBPIXELS)
        np.maximum(picture[..., 0], canvas / np.float32(255), out=picture[..., 0])
    return noisy


def brightness(clean: Images, level: ArrayLike, rng: np.random.Generator) -> Images:
    """Expose too long, in one half of the pictures, or too short: shift everything by `0.8 * level`, then clip."""
    sign = np.where(rng.random((len(clean), 1, 1, 1)) < 0.5, np.float32(-1), np.float32(1))
    return _clip(clean + sign * EXPOSURE * _per_image(level, clean))


NOISES: Mapping[str, Noise] = MappingProxyType(
    {
        noise.__name__: noise
        for noise in (
            gaussian,
            salt_and_pepper,
            speckle,
            shot,
            motion_blur,
            low_contrast,
            occlusion,
            stripes,
            haze,
            bright_stripes,
            outlines,
            scribble,
            spatter,
            brightness,
        )
    }
)


def _per_image(level: ArrayLike, clean: Images) -> Images:
    """One level, or one per image, in the shape that broadcasts over a batch; refuses what is outside [0, 1]."""
    levels = np.asarray(level, dtype=np.float32)
    if levels.ndim and levels.shape != (len(clean),):
        raise ValueError(f"level is one number or one per image: {len(clean)} images, levels of shape {levels.shape}")
    if not np.all((levels >= 0) & (levels <= 1)):
        raise ValueError(f"noise level is from 0 to 1, not {level!r}")
    return levels.reshape(-1, 1, 1, 1)


def _bilinear(side: int) -> Images:
    """The weights that spread a grid of random values over `side` pixels: (side, grid)."""
    place = np.linspace(0, HAZE_GRID - 1, side, dtype=np.float32)[:, None]
    return np.maximum(0, 1 - np.abs(place - np.arange(HAZE_GRID, dtype=np.float32)))


def _draw_lines(picture: Images, points: NDArray[np.floating], thickness: int) -> None:
    """White lines from point to point, into the picture."""
    canvas = np.zeros(picture.shape, np.uint8)
    places = np.rint(points * 2**SUBPIXELS).astype(np.int32)
    cv2.polylines(canvas, [places], False, 255, thickness, cv2.LINE_AA, SUBPIXELS)
    np.maximum(picture, canvas / np.float32(255), out=picture)


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Images:
    return rng.standard_normal(shape, dtype=np.float32)


def _clip(images: NDArray[np.floating]) -> Images:
    return np.clip(images, 0, 1).astype(np.float32, copy=False)
