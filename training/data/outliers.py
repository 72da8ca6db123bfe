"""Pictures that show no digit, or more than one: what `is_digit` learns to tell from digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np

from services.core.noise import Images
from training.data.augment import SIDE_PX, moved, warp
from training.data.dataset import Digits
from training.data.glyphs import LETTERS, Glyphs, glyphs
from training.data.lines import pieces

MIRRORED = (3, 4, 6, 7, 9)  # whose mirror image is no digit
Outlier = Callable[[Digits, int, np.random.Generator], Images]


def letters(digits: Digits, count: int, rng: np.random.Generator) -> Images:
    """Printed letters, without those that can be digits, warped as digits are and in all pens."""
    return _letters(glyphs(LETTERS, test=False), count, rng)


def letters_in_test_fonts(digits: Digits, count: int, rng: np.random.Generator) -> Images:
    """The same in fonts that training never sees."""
    return _letters(glyphs(LETTERS, test=True), count, rng)


def mirrored(digits: Digits, count: int, rng: np.random.Generator) -> Images:
    """Digits from behind the paper."""
    among = np.flatnonzero(np.isin(digits.labels, MIRRORED))
    chosen = digits.images[rng.choice(among, count)][:, :, ::-1]
    return warp(np.ascontiguousarray(chosen), rng, small=0.6, wide=0.2)


def cut(digits: Digits, count: int, rng: np.random.Generator) -> Images:
    """Digits of which the edge of the picture leaves half or less."""
    chosen = _some(digits, count, rng)
    far, aside = rng.integers(13, 17, count), rng.integers(-3, 4, count)
    far *= rng.choice([-1, 1], count)
    swap = rng.random(count) < 0.5
    moves = np.where(swap[:, None], np.stack([aside, far], 1), np.stack([far, aside], 1))
    return np.stack([moved(image, *move) for image, move in zip(chosen, moves.tolist(), strict=True)])


def two_digits(digits: Digits, count: int, rng: np.random.Generator) -> Images:
    """Two digits, or three: side by side or one above the other, narrowed to fit, or cut where they do not."""
    first, second, third = (_some(digits, count, rng) for _ in range(3))
    pictures = np.zeros((count, SIDE_PX, SIDE_PX, 1), np.float32)
    ways, apart = rng.random(count), rng.integers(7, 14, count)
    scales, stacked = rng.uniform(0.5, 0.8, count), rng.random(count) < 0.2
    for index in range(count):
        size = scales[index]
        if ways[index] < 0.35:  # narrowed
            parts, places = [first, second], [-7.0, 7.0]
            wide, high = 0.6 * size / 0.65, 1.0
        elif ways[index] < 0.75:  # smaller
            parts, places = [first, second], [-apart[index] * 0.62, apart[index] * 0.62]
            wide = high = size
        elif ways[index] < 0.85:
            parts, places = [first, second, third], [-9.0, 0.0, 9.0]
            wide, high = 0.45, size
        else:  # whole, and cut by the edges
            parts, places = [first, second], [-float(apart[index]) * 0.75, float(apart[index]) * 0.75]
            wide = high = 1.0
        for part, place in zip(parts, places, strict=True):
            matrix = np.array([[wide, 0, 13.5 * (1 - wide) + place], [0, high, 13.5 * (1 - high)]])
            if stacked[index]:
                matrix = np.array([[high, 0, 13.5 * (1 - high)], [0, wide, 13.5 * (1 - wide) + place]])
            drawn = cv2.warpAffine(part[index, ..., 0], matrix, (SIDE_PX, SIDE_PX), flags=cv2.INTER_AREA)
            np.maximum(pictures[index, ..., 0], drawn, out=pictures[index, ..., 0])
    return pictures


def scribbles(digits: Digits, count: int, rng: np.random.Generator) -> Images:
    """Random lines and boxes of any thickness."""
    pictures = np.zeros((count, SIDE_PX, SIDE_PX, 1), np.float32)
    for picture in pictures:
        canvas = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
        corners = int(rng.integers(4, 10))
        points = np.rint(rng.uniform(2, 26, (corners, 2)) * 16).astype(np.int32)
        if rng.random() < 0.25:  # crosses, stars: lines apart
            for start, end in zip(points[::2].tolist(), points[1::2].tolist(), strict=False):
                cv2.line(canvas, start, end, 255, int(rng.integers(1, 4)), cv2.LINE_AA, 4)
        else:
            cv2.polylines(canvas, [points], rng.random() < 0.3, 255, int(rng.integers(1, 4)), cv2.LINE_AA, 4)
        picture[..., 0] = canvas / np.float32(255)
    return pictures


def blank(digits: Digits, count: int, rng: np.random.Generator) -> Images:
    """Nothing: black, or one grey."""
    grey = np.where(rng.random((count, 1, 1, 1)) < 0.5, 0, rng.random((count, 1, 1, 1)))
    return np.broadcast_to(grey, (count, SIDE_PX, SIDE_PX, 1)).astype(np.float32)


def textures(digits: Digits, count: int, rng: np.random.Generator) -> Images:
    """Waves, boards and clouds over the whole picture."""
    row, column = np.arange(SIDE_PX)[None, :, None], np.arange(SIDE_PX)[None, None, :]
    angle, period, phase = (
        rng.uniform(low, high, (count, 1, 1)) for low, high in ((0.0, np.pi), (3.0, 14.0), (0.0, 2 * np.pi))
    )
    along, across = np.cos(angle) * column + np.sin(angle) * row, np.cos(angle) * row - np.sin(angle) * column
    waves = np.sin(2 * np.pi * along / period + phase)
    boards = waves * np.sin(2 * np.pi * across / period)
    clouds = np.stack(
        [
            cv2.resize(grid, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
            for grid in rng.standard_normal((count, 5, 5))
        ]
    )
    chosen = np.choose(rng.integers(0, 3, (count, 1, 1)), [waves, boards, clouds])
    gain = rng.choice([0.5, 4.0], (count, 1, 1))
    return np.clip(0.5 + gain * chosen, 0, 1).astype(np.float32)[..., None]


OUTLIERS: Mapping[str, tuple[Outlier, float]] = MappingProxyType(
    {
        "letters": (letters, 0.36),
        "mirrored": (mirrored, 0.05),
        "cut": (cut, 0.05),
        "two_digits": (two_digits, 0.18),
        "pieces": (pieces, 0.16),
        "scribbles": (scribbles, 0.08),
        "blank": (blank, 0.06),  # the noise on top makes most of them pictures of noise
        "textures": (textures, 0.06),
    }
)


def outliers(digits: Digits, count: int, rng: np.random.Generator) -> Images:
    """A mix of all kinds."""
    shares = [share for _, share in OUTLIERS.values()]
    parts = zip(OUTLIERS.values(), rng.multinomial(count, shares), strict=True)
    return np.concatenate([make(digits, some, rng) for (make, _), some in parts if some])


def _letters(found: Glyphs, count: int, rng: np.random.Generator) -> Images:
    return warp(found.images[rng.integers(len(found.images), size=count)], rng, small=0.3, wide=0.6)


def _some(digits: Digits, count: int, rng: np.random.Generator) -> Images:
    return digits.images[rng.integers(len(digits), size=count)]
