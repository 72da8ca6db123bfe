"""Any picture of a digit -> what the models were trained on: float32 (28, 28, 1) in [0, 1], white on black, centred.

`auto`   leaves a 28x28 white-on-black picture alone, however noisy, brings one of enlarged pixels back to 28x28,
         and gives everything else the MNIST treatment
`mnist`  gives every picture the treatment: ink from paper (services/core/ink.py), fitted into 20x20 keeping the aspect,
         the centre of mass in the middle of 28x28, as the makers of MNIST did
`none`   takes 28x28 pictures as they are and refuses others
"""

from __future__ import annotations

import cv2
import numpy as np

from services.core.enlarged import before_repeating, before_smoothing
from services.core.errors import InvalidInputError
from services.core.ink import find_ink
from services.core.noise_level import estimate

SIDE = 28
INK_SIDE = 20  # the longer side of the ink, in the 28x28 picture
MODES = ("auto", "mnist", "none")

NOISY = 0.07  # estimated standard deviation of noise; 99 % of clean digits stay below 0.055
GRID_SIDE = 10 * SIDE  # pixels of an enlarged picture that are looked at: each of the 28 ten times

_WHITE = 255
_HALF = 127
_NEARLY_WHITE = 240  # nothing darker: an empty sheet
_SCALE = np.float32(1 / 255)
_RING_PX = 3  # of a 28x28 picture, where MNIST has (almost) no ink
_RING = np.ones((SIDE, SIDE), bool)
_RING[_RING_PX:-_RING_PX, _RING_PX:-_RING_PX] = False
_RING_PIXELS = np.count_nonzero(_RING)
_RING_BITS = np.packbits(_RING)


def to_digit(picture: np.ndarray, *, preprocess: str = "auto") -> np.ndarray:
    """One decoded picture (uint8: grey, BGR or BGRA) as the float32 image (28, 28, 1) that the models read."""
    if picture.shape[:2] == (SIDE, SIDE):
        grey = picture if picture.ndim == 2 else to_grey(picture)
        if preprocess == "none" or (preprocess == "auto" and is_white_on_black(grey)):
            return (grey * _SCALE)[..., np.newaxis]
    elif preprocess == "none":
        height, width = picture.shape[:2]
        raise InvalidInputError(f"{width} x {height} pixels; with preprocess=none a picture is 28 x 28")
    else:
        grey = to_grey(picture)
        if preprocess == "auto" and (grid := own_grid(grey)) is not None:
            return to_digit(grid)
    return treat(grey) if preprocess == "mnist" else _treat_unless_noisy(grey)


def to_digits(pictures: np.ndarray, *, preprocess: str = "auto") -> np.ndarray:
    """`to_digit` for many raw pictures (n, 28, 28), uint8 or float32 in [0, 1]: at once where none needs treatment.

    Then whole numbers also stay whole, a quarter of the memory, for `to_unit` to scale a part at a time.
    """
    images = pictures[..., np.newaxis]
    treated = to_be_treated(pictures, preprocess=preprocess)
    if not len(treated):
        return images
    digits = to_unit(images).copy()
    for index in treated:
        picture = pictures[index]
        grey = picture if picture.dtype == np.uint8 else np.rint(picture * _WHITE).astype(np.uint8)
        digits[index] = treat(grey) if preprocess == "mnist" else _treat_unless_noisy(grey)
    return digits


def to_be_treated(pictures: np.ndarray, *, preprocess: str = "auto") -> np.ndarray:
    """The places of those that `to_digits` does not leave as they are."""
    if preprocess == "none":
        return np.arange(0)
    return np.flatnonzero(~_are_white_on_black(pictures)) if preprocess == "auto" else np.arange(len(pictures))


def own_grid(grey: np.ndarray) -> np.ndarray | None:
    """The 28x28 picture that this one is with each of its pixels enlarged, as viewers and people do; None if it is not.

    Smoothly enlarged pictures count when they are noisy: a smooth picture of any size looks like one of few pixels.
    """
    height, width = grey.shape
    if height != width or width <= SIDE:
        return None
    if width > GRID_SIDE:
        grey = cv2.resize(grey, (GRID_SIDE, GRID_SIDE), interpolation=cv2.INTER_NEAREST_EXACT)
    if not grey.std():
        return None
    if (pixels := before_repeating(grey, (SIDE, SIDE))) is not None:
        return pixels
    smooth = before_smoothing(grey, (SIDE, SIDE))
    noisy = smooth is not None and estimate((smooth * _SCALE)[np.newaxis, ..., np.newaxis])[0] > NOISY
    return smooth if noisy else None


def to_unit(images: np.ndarray) -> np.ndarray:
    """float32 in [0, 1], which whole numbers from 0 to 255 become; what is so already stays as it is."""
    return images * _SCALE if images.dtype == np.uint8 else images


def to_grey(picture: np.ndarray) -> np.ndarray:
    """Grey, with transparent parts as white paper; as black paper where nothing would show on white, as of chalk."""
    if picture.ndim == 2:
        return picture
    if picture.shape[2] == 3:
        return cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    alpha = picture[..., 3]
    ink = cv2.multiply(cv2.cvtColor(picture, cv2.COLOR_BGRA2GRAY), alpha, scale=1 / _WHITE)
    grey: np.ndarray = cv2.add(ink, cv2.bitwise_not(alpha))
    return ink if int(grey.min()) >= _NEARLY_WHITE else grey


def is_white_on_black(grey: np.ndarray) -> bool:
    """Is the border of this 28x28 picture dark, or darker than what it surrounds, as haze and bright stripes leave it?

    Noise of level 1 leaves at least 5 standard deviations of room to a border that is dark in itself.
    """
    bright = grey > _HALF
    of_ring = np.count_nonzero(bright) - np.count_nonzero(bright[_RING_PX:-_RING_PX, _RING_PX:-_RING_PX])
    return bool(2 * of_ring <= _RING_PIXELS or _is_brighter_inside(grey))


def _is_brighter_inside(grey: np.ndarray) -> bool:
    """Strokes are inside: is that the brighter part?"""
    return bool(grey[~_RING].mean() > grey[_RING].mean())


def _are_white_on_black(pictures: np.ndarray) -> np.ndarray:
    """`is_white_on_black` of each, uint8 or float32 in [0, 1]; by bits: for many faster than picking pixels."""
    bright = pictures > (_HALF if pictures.dtype == np.uint8 else 0.5)
    bits = np.packbits(bright.reshape(len(bright), -1), axis=1)
    dark = 2 * np.bitwise_count(bits & _RING_BITS).sum(axis=1) <= _RING_PIXELS
    for index in np.flatnonzero(~dark):
        dark[index] = _is_brighter_inside(pictures[index])
    return dark


def treat(grey: np.ndarray) -> np.ndarray:
    """The MNIST treatment of one grey picture; a picture without ink comes out black."""
    ink = find_ink(grey)
    if ink is None:
        return np.zeros((SIDE, SIDE, 1), np.float32)
    return np.minimum(centred(ink), 1.0)[..., np.newaxis]  # averaging may end a rounding error above 1


def _treat_unless_noisy(grey: np.ndarray) -> np.ndarray:
    """A noisy black-on-white 28x28 picture is only inverted: its ink cannot be told from its noise by shape."""
    if grey.shape == (SIDE, SIDE):
        inverted = ((_WHITE - grey) * _SCALE)[..., np.newaxis]
        if estimate(inverted[np.newaxis])[0] > NOISY:
            return inverted
    return treat(grey)


def centred(ink: np.ndarray) -> np.ndarray:
    """Cropped ink, float32 in [0, 1], fitted into 20x20 and moved so that its centre of mass is the picture's."""
    height, width = ink.shape
    scale = INK_SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(ink, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    # Whole pixels, as in MNIST: a shift by a fraction would blur. (cv2.moments takes a picture two wide for a contour.)
    left = round(SIDE / 2 - _centre(small.sum(axis=0)))
    top = round(SIDE / 2 - _centre(small.sum(axis=1)))
    left = min(max(left, 0), SIDE - small.shape[1])
    top = min(max(top, 0), SIDE - small.shape[0])
    digit = np.zeros((SIDE, SIDE), np.float32)
    digit[top : top + small.shape[0], left : left + small.shape[1]] = small
    return digit


def _centre(weights: np.ndarray) -> float:
    """The place in the middle of the weights."""
    return float(weights @ np.arange(len(weights)) / weights.sum())
