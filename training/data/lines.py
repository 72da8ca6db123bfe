"""Digits among others: lines for the denoiser, and what a line is cut into, whole digits and wrong pieces.

Reading a line means to cut it at more places than it has digits, and to let the classifier say which pieces are digits
(services/core/lines). So it has to know how a digit looks that was cut away from its neighbours, and a wrong cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from services.core.noise import Images
from services.core.preprocessing import centred
from training.data.augment import SIDE_PX, moved, warp
from training.data.dataset import Digits

STRIP_PX = 112
READ_DIGITS = 2  # of a strip, by the classifier
BESIDE_PX = 2  # of the paper around a digit that is read with it
PITCH_PX = (15, 34)  # from a digit's frame to the next one's
CUT_SHARE, CUT_PX = 0.3, 5  # of the strips lie this far too high or too low, at most
INKED = 0.1
OVERLAP_PX = (-4, 3)  # from a digit's box to the next one's
SLIP_PX = (-1, 3)  # from the end of a digit to where it is cut
PART = (0.3, 0.7)  # of a digit's ink that a wrong cut leaves
LEAST_PX = 9  # width of a wrong piece: a narrower one is a 1 to anyone


@dataclass(frozen=True, slots=True)
class Strips:
    """Lines of digits, and of some digits of each: where their frame begins, which pixels are theirs, what they are."""

    images: Images  # (n, 28, 112, 1)
    lefts: np.ndarray  # (n, READ_DIGITS)
    masks: Images  # (n, READ_DIGITS, 28, 28, 1)
    labels: np.ndarray  # (n, READ_DIGITS)


def strips(digits: Digits, count: int, rng: np.random.Generator) -> Strips:
    """Lines of digits at irregular distances, cut by the ends, some also by the upper or the lower edge."""
    first = rng.integers(-SIDE_PX // 2, SIDE_PX // 2, count)
    pitches = rng.integers(*PITCH_PX, (count, STRIP_PX // PITCH_PX[0] + 1))
    lefts = np.concatenate([first[:, None], first[:, None] + pitches.cumsum(axis=1)], axis=1)
    line, place = np.nonzero(lefts < STRIP_PX - 6)
    chosen = rng.integers(len(digits), size=len(line))
    written = warp(digits.images[chosen], rng, small=0.6, wide=0.3)
    down = np.where(rng.random(count) < CUT_SHARE, rng.integers(-CUT_PX, CUT_PX + 1, count), 0)
    images = np.zeros((count, SIDE_PX, STRIP_PX, 1), np.float32)
    for index, digit in enumerate(written):
        if move := down[line[index]]:
            written[index] = digit = moved(digit, 0, int(move))
        left = int(lefts[line[index], place[index]])
        start, end = max(left, 0), min(left + SIDE_PX, STRIP_PX)
        shown = images[line[index], :, start:end]
        np.maximum(shown, digit[:, start - left : end - left], out=shown)
    inside = (lefts >= 0) & (lefts <= STRIP_PX - SIDE_PX)  # two at least: frames begin at most 33 px apart
    read = np.argsort(np.where(inside, rng.random(lefts.shape), 2.0), axis=1)[:, :READ_DIGITS]
    at = np.zeros(lefts.shape, np.intp)
    at[line, place] = np.arange(len(line))
    which = np.take_along_axis(at, read, axis=1)
    brush = np.ones((2 * BESIDE_PX + 1,) * 2, np.uint8)
    masks = [cv2.dilate((written[each, ..., 0] > INKED).astype(np.uint8), brush) for each in which.ravel()]
    return Strips(
        images,
        np.take_along_axis(lefts, read, axis=1).astype(np.int32),
        np.array(masks, np.float32).reshape(count, READ_DIGITS, SIDE_PX, SIDE_PX, 1),
        digits.labels[chosen[which]].astype(np.int32),
    )


def cut_out(digits: Digits, chosen: np.ndarray, rng: np.random.Generator) -> Images:
    """The digits with these indices as they are cut out of a line, with a bit of their neighbours or short of a bit."""
    return np.stack([_cut_out(*row, rng) for row in _rows(digits, chosen, rng)])[..., None]


def pieces(digits: Digits, count: int, rng: np.random.Generator) -> Images:
    """What wrong cuts leave: a digit with a part of the next one, a part of one, parts of two, two together."""
    chosen = rng.integers(len(digits), size=count)
    return np.stack([_piece(*row, rng) for row in _rows(digits, chosen, rng)])[..., None]


Row = tuple[np.ndarray, list[tuple[int, int]]]  # three digits side by side, and where each begins and ends


def _rows(digits: Digits, middles: np.ndarray, rng: np.random.Generator) -> list[Row]:
    count = len(middles)
    others = rng.integers(len(digits), size=(2, count))
    three = np.stack([others[0], middles, others[1]], axis=1).ravel()
    written = warp(digits.images[three], rng, small=0.5, wide=0.3).reshape(count, 3, SIDE_PX, SIDE_PX)
    return [_row(glyphs, gaps) for glyphs, gaps in zip(written, rng.integers(*OVERLAP_PX, (count, 2)), strict=True)]


def _row(glyphs: np.ndarray, gaps: np.ndarray) -> Row:
    row = np.zeros((SIDE_PX, 4 * SIDE_PX), np.float32)
    ends: list[tuple[int, int]] = []
    for glyph, gap in zip(glyphs, (0, *gaps.tolist()), strict=True):
        x, _, width, _ = cv2.boundingRect((glyph > INKED).view(np.uint8))
        left = max((ends[-1][1] if ends else 0) + gap, 0)
        ends.append((left, left + width))
        np.maximum(row[:, left : left + width], glyph[:, x : x + width], out=row[:, left : left + width])
    return row, ends


def _cut_out(row: np.ndarray, ends: list[tuple[int, int]], rng: np.random.Generator) -> np.ndarray:
    (_, before), (left, right), (after, _) = ends
    slips = rng.integers(*SLIP_PX, 2)
    start = min(left, (left + before) // 2) - int(slips[0]) if rng.random() < 0.5 else (left + before) // 2
    stop = max(right, (right + after) // 2) + int(slips[1]) if rng.random() < 0.5 else (right + after + 1) // 2
    return _framed(row[:, max(start, 0) : stop])


def _piece(row: np.ndarray, ends: list[tuple[int, int]], rng: np.random.Generator) -> np.ndarray:
    first, second, third = ends
    ink = row.sum(axis=0).cumsum()

    def within(left: int, right: int, share: float) -> int:
        return int(np.searchsorted(ink, ink[left] + share * (ink[right - 1] - ink[left]))) + 1

    share, inside = float(rng.uniform(*PART)), within(*second, float(rng.uniform(*PART)))
    ways = [
        (within(*first, 1 - share), second[1]),  # a digit, and the end of the one before
        (second[0], within(*third, share)),  # a digit, and the beginning of the one after
        (second[0], inside),  # a part of one
        (inside, second[1]),
        (inside, within(*third, share)),  # the end of one, the beginning of another
        (first[0], second[1]),  # two
    ]
    start, stop = ways[rng.integers(len(ways))]
    if stop - start < LEAST_PX:
        start, stop = first[0], second[1]
    return _framed(row[:, start:stop])


def _framed(ink: np.ndarray) -> np.ndarray:
    """As services/core/lines shows a piece to the classifier."""
    x, y, width, height = cv2.boundingRect((ink > INKED).view(np.uint8))
    return centred(ink[y : y + height, x : x + width]) if width else np.zeros((SIDE_PX, SIDE_PX), np.float32)
