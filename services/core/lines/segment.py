"""Candidate pieces of a cleaned strip: the line cut at more places than it has digits, and every run of parts.

What lies between two cuts (`cuts`) is a part; up to eight parts together are a piece.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from services.core.lines.cuts import FREE, ways
from services.core.preprocessing import INK_SIDE, SIDE

Ink = NDArray[Any]  # float32 in [0, 1]; OpenCV's stubs promise no type
Places = NDArray[np.intp]  # columns, rows, and numbers of parts

MAX_PIECES = 128  # of one line
MAX_PARTS = 8  # of one piece
MAX_WIDTH_PX = 30  # of one piece; a digit is about 20 px tall, and hardly ever wider than tall
MAX_CUT_WIDTH_PX = 24  # of one that was cut out of ink: 98 % of MNIST's digits are narrower
MIN_HEIGHT_PX = 8  # of a piece: less is a dot or the rest of a ruled line
MIN_CUT_HEIGHT_PX = 12  # of one that was cut out of ink: a stroke's end is no digit
OWN_PIXELS = (0.8, 1.25)  # scales to a digit's size that are taken for 1
MAX_ENLARGED = 1.5  # a small piece stays smaller than a digit, so that a dot does not look like a 0
GAP_PX = 4  # a gap at least so wide parts two digits
FAINT = 0.15  # below it a pixel is paper to cuts and boxes; the classifier gets it as it is
INKED = 0.4  # from here on a pixel is ink, for the box of a piece
LEAST_INK = 6.0  # of a piece, in pixels of full ink


@dataclass(frozen=True, slots=True)
class Pieces:
    """Candidates of one strip; piece i is made of the parts from `starts[i]` up to, not including, `stops[i]`."""

    images: Ink  # (n, 28, 28, 1): each as the classifier reads a digit
    starts: Places
    stops: Places
    boxes: Ink  # (n, 4): left, top, right, bottom of its ink, in pixels of the strip
    part_ink: Ink  # ink of each part
    cut_ink: Ink  # (parts - 1,): ink that each cut crosses

    @property
    def parts(self) -> int:
        """How many parts the strip was cut into."""
        return len(self.part_ink)

    def __len__(self) -> int:
        return len(self.starts)


def cut(strip: Ink) -> Pieces:
    """All candidate pieces of one strip (28, width, 1) in [0, 1], white on black, at most MAX_PIECES."""
    ink = np.where(strip[..., 0] < FAINT, np.float32(0), strip[..., 0])
    found, costs = ways(ink)
    while True:
        part_of, parts = _part_of(found, ink.shape), len(found) + 1
        sums = _sums(ink, part_of, parts)
        low, high = _extents(part_of, ink >= INKED, parts)
        runs, cut_out = _runs(low, high, sums[0], costs)
        if len(runs) <= MAX_PIECES:
            break
        cheapest = np.sort(np.argsort(costs, kind="stable")[: len(costs) * 3 // 4])
        found, costs = found[cheapest], costs[cheapest]
    start, stop = _over(np.minimum, low, runs), _over(np.maximum, high, runs)
    low, high = _extents(part_of, ink > 0, parts)
    faint_start = np.maximum(_over(np.minimum, low, runs), start - 1)  # a pixel more where faint ink is beside it
    faint_stop = np.minimum(_over(np.maximum, high, runs), stop + 1)
    mass, *centres = _over(np.add, sums, runs)
    scale = _scales(faint_stop - faint_start, cut_out)
    images = _images(strip[..., 0], part_of, runs, faint_start, faint_stop, np.array(centres) / mass, scale)
    return Pieces(
        images=images[..., np.newaxis],
        starts=runs[:, 0],
        stops=runs[:, 1],
        boxes=np.concatenate([start, stop]).T.astype(np.float32),
        part_ink=sums[0, :parts].astype(np.float32),
        cut_ink=costs,
    )


def apart(picture: Ink) -> int:
    """How many pieces of ink as tall as digits lie beside one another, with paper between them."""
    pieces = cut(picture)
    whole = np.concatenate([[0.0], pieces.cut_ink, [0.0]]) < FAINT  # ends of parts that go through no ink
    before = np.cumsum(whole)  # ends so far: none lies within a piece of ink that hangs together
    together: NDArray[np.bool_] = before[pieces.stops] - before[pieces.starts] == 1
    return int(np.count_nonzero(whole[pieces.starts] & whole[pieces.stops] & together))


def _part_of(found: Places, shape: tuple[int, ...]) -> Places:
    """The part that each pixel belongs to: how many cuts lie to the left of it."""
    height, width = shape
    crossed = np.bincount((found + width * np.arange(height)).ravel(), minlength=height * width)
    return np.cumsum(crossed.reshape(shape), axis=1)


# What is known of each part is an array whose last axis has MAX_PARTS more, of nothing: runs may reach over the end.


def _sums(ink: Ink, part_of: Places, parts: int) -> NDArray[np.float64]:
    """Of each part its ink, and its ink times column and row (3, parts + MAX_PARTS)."""
    height, width = ink.shape
    weights = ink, ink * _middles(width), ink * _middles(height)[:, np.newaxis]
    of = part_of.ravel()
    return np.stack([np.bincount(of, weights=each.ravel(), minlength=parts + MAX_PARTS) for each in weights])


def _middles(count: int) -> Ink:
    return np.arange(0.5, count, dtype=np.float32)


def _extents(part_of: Places, marked: NDArray[np.bool_], parts: int) -> tuple[Places, Places]:
    """The first column and row of each part's marked pixels, and the ones after the last (2, parts + MAX_PARTS)."""
    low = np.full((2, parts + MAX_PARTS), max(marked.shape))
    high = np.zeros_like(low)
    of = part_of[marked]
    for axis, places in enumerate(np.nonzero(marked)[::-1]):
        np.minimum.at(low[axis], of, places)
        np.maximum.at(high[axis], of, places + 1)
    return low, high


def _over(ufunc: np.ufunc, of_parts: NDArray[Any], runs: Places) -> NDArray[Any]:
    """What is known of each part, put together over runs of parts."""
    together: NDArray[Any] = ufunc.reduceat(of_parts, runs.ravel(), axis=-1)
    return together[..., ::2]


def _runs(low: Places, high: Places, part_ink: NDArray[np.float64], costs: Ink) -> tuple[Places, NDArray[np.bool_]]:
    """Runs of up to MAX_PARTS parts that might be a digit.

    Their first part and the one after their last (n, 2), and which of them were cut out of ink (n,).
    """
    parts = len(costs) + 1
    last = np.arange(parts)[:, np.newaxis] + np.arange(MAX_PARTS)  # of a run, by its first
    start = np.minimum.accumulate(low[:, last], axis=2)
    stop = np.maximum.accumulate(high[:, last], axis=2)
    inked = high[0, last] > 0
    wide, tall = stop - start
    over = wide > MAX_WIDTH_PX
    over[:, 1:] |= inked[:, 1:] & (low[0, last[:, 1:]] - stop[0, :, :-1] >= GAP_PX)
    over = np.logical_or.accumulate(over, axis=1)
    through = np.concatenate([[False], costs >= FREE, np.zeros(MAX_PARTS, bool)])  # is ink crossed before each part?
    cut_out = through[:parts, np.newaxis] | through[last + 1]
    digits = tall >= np.where(cut_out, MIN_CUT_HEIGHT_PX, MIN_HEIGHT_PX)
    digits &= ~(cut_out & (wide > MAX_CUT_WIDTH_PX))
    digits &= np.cumsum(part_ink[last], axis=1) >= LEAST_INK
    first, more = np.nonzero(inked[:, :1] & inked & ~over & digits)
    return np.stack([first, first + more + 1], axis=1), cut_out[first, more]


def _scales(size: Places, cut_out: NDArray[np.bool_]) -> NDArray[np.float64]:
    """To a digit's size, 20 px on the longer side.

    Most digits nearly have it and keep their pixels, which are read better than resampled ones; of lines whose digits
    touch fewer are read right so, and pieces cut out of ink are scaled.
    """
    scale = np.minimum(INK_SIDE / size.max(axis=0, initial=1), MAX_ENLARGED)
    least, most = OWN_PIXELS
    return np.where((scale >= least) & (scale <= most) & ~cut_out, 1.0, scale)


def _images(
    strip: Ink,
    part_of: Places,
    runs: Places,
    start: Places,
    stop: Places,
    centre: NDArray[np.float64],
    scale: NDArray[np.float64],
) -> Ink:
    """Each piece as the classifier reads it (n, 28, 28): faint ink as well, its centre of mass in the middle."""
    size = stop - start
    scaled = np.maximum(np.rint(size * scale), 1).astype(np.intp)
    place = np.rint(SIDE / 2 - (centre - start) * scaled / size).astype(np.intp)
    place = np.clip(place, 0, SIDE - scaled)
    images = np.zeros((len(runs), SIDE, SIDE), np.float32)
    part_of = part_of.astype(np.int16)
    columns = np.concatenate([runs.T, start, stop, scaled, place]).T.tolist()
    for image, (first, beyond, left, top, right, bottom, width, height, x, y) in zip(images, columns, strict=True):
        box = np.s_[top:bottom, left:right]
        own = cv2.copyTo(strip[box], cv2.inRange(part_of[box], first, beyond - 1))
        smaller = width < right - left or height < bottom - top
        cv2.resize(
            own,
            (width, height),
            dst=image[y : y + height, x : x + width],
            interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR,
        )
    return images
