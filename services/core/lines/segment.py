"""Candidate pieces of a cleaned strip: the line cut at more places than it has digits, and every run of parts.

A cut is the cheapest way from the top of the strip to its bottom, at most one column aside per row: through a gap it
costs nothing, also between slanted digits whose columns overlap; through a stroke it costs the ink it crosses. Cuts are
the local minima of that cost, and in ink too wide for one digit every third column between them: where digits touch
along a whole stroke no column is cheaper than the next. What lies between two cuts is a part; up to eight parts
together are a piece.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from services.core.preprocessing import INK_SIDE, SIDE

Ink = NDArray[Any]  # float32 in [0, 1]; OpenCV's stubs promise no type

MAX_PIECES = 128  # of one line
MAX_PARTS = 8  # of one piece
MAX_WIDTH_PX = 30  # of one piece; a digit is about 20 px tall, and hardly ever wider than tall
MAX_CUT_WIDTH_PX = 24  # of one that was cut out of ink: 98 % of MNIST's digits are narrower
MIN_HEIGHT_PX = 8  # of a piece: less is a dot or the rest of a ruled line
MIN_CUT_HEIGHT_PX = 12  # of one that was cut out of ink: a stroke's end is no digit
MAX_ENLARGED = 1.5  # a small piece stays smaller than a digit, so that a dot does not look like a 0
GAP_PX = 4  # a gap at least so wide parts two digits

CUT_INK = 5.0  # ink a cut may cross: two strokes, hardly more
ASIDE_COST = 0.05  # of one column aside, so that ways are straight where nothing speaks against it
SPACING_PX = 2  # between two cuts
FREE = 0.5  # ink that a cut through a gap may cross
WIDE_PX = 16  # between two gaps: wider ink may be several digits, and is cut at every STEP_PX as well
STEP_PX = 3
CUT_MOST_INK = 12.0  # ink that such a cut may cross
FAINT = 0.15  # below it a pixel is paper
INKED = 0.4  # from here on a pixel is ink, for the box of a piece
LEAST_INK = 6.0  # of a piece, in pixels of full ink


@dataclass(frozen=True, slots=True)
class Pieces:
    """Candidates of one strip; piece i is made of the parts from `starts[i]` up to, not including, `stops[i]`."""

    images: Ink  # (n, 28, 28, 1): each as the classifier reads a digit
    starts: NDArray[np.intp]
    stops: NDArray[np.intp]
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
    ways, costs = _ways(ink)
    while len(pieces := _pieces(ink, ways, costs)) > MAX_PIECES:
        cheapest = np.sort(np.argsort(costs, kind="stable")[: len(costs) * 3 // 4])
        ways, costs = ways[cheapest], costs[cheapest]
    return pieces


def apart(picture: Ink) -> int:
    """How many pieces of ink as tall as digits lie beside one another, with paper between them."""
    pieces = cut(picture)
    whole = np.concatenate([[0.0], pieces.cut_ink, [0.0]]) < FAINT  # ends of parts that go through no ink
    before = np.cumsum(whole)  # ends so far: none lies within a piece of ink that hangs together
    together: NDArray[np.bool_] = before[pieces.stops] - before[pieces.starts] == 1
    return int(np.count_nonzero(whole[pieces.starts] & whole[pieces.stops] & together))


def normalised(ink: Ink) -> Ink:
    """Ink cropped to its box as the classifier's 28x28: its longer side 20 px, its centre of mass in the middle."""
    height, width = ink.shape
    scale = min(INK_SIDE / max(height, width), MAX_ENLARGED)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size != (width, height):
        ink = cv2.resize(ink, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    height, width = ink.shape
    total = float(ink.sum())
    left = round(SIDE / 2 - float(ink.sum(axis=0) @ _MIDDLES[:width]) / total)
    top = round(SIDE / 2 - float(ink.sum(axis=1) @ _MIDDLES[:height]) / total)
    left, top = min(max(left, 0), SIDE - width), min(max(top, 0), SIDE - height)
    digit = np.zeros((SIDE, SIDE), np.float32)
    digit[top : top + height, left : left + width] = ink
    return digit


_MIDDLES = np.arange(SIDE, dtype=np.float32) + np.float32(0.5)


def _ways(ink: Ink) -> tuple[NDArray[np.intp], Ink]:
    """Cuts from left to right: each row's column (n, height), and the ink each crosses (n,)."""
    height, width = ink.shape
    middle = height // 2
    halves = np.zeros((middle, 2, width), np.float32)  # from the top down to the middle, and from the bottom up to it
    halves[:, 0], halves[middle - (height - middle - 1) :, 1] = ink[:middle], ink[:middle:-1]
    costs = np.full((middle, 2, width + 2), np.inf, np.float32)  # of the cheapest way to each pixel
    costs[0, :, 1:-1] = halves[0]
    for row in range(1, middle):
        costs[row, :, 1:-1] = halves[row] + _step(costs[row - 1])
    through = ink[middle] + _step(costs[-1]).sum(axis=0)
    columns = _minima(through)
    back = _back(costs, columns)
    below = height - middle - 1
    ways = np.concatenate([back[::-1, 0], columns[np.newaxis], back[:below, 1]]).T
    return np.maximum.accumulate(ways, axis=0), through[columns]


def _step(costs: Ink) -> Ink:
    """The cheapest way into each column of the next row; `costs` has a column more on both sides."""
    return np.minimum(costs[:, 1:-1], np.minimum(costs[:, :-2], costs[:, 2:]) + ASIDE_COST)


def _back(costs: Ink, columns: NDArray[np.intp]) -> NDArray[np.intp]:
    """The ways that lead to `columns` of the middle, from there outwards: (rows, 2, n)."""
    side = np.array([[0], [1]])
    at = np.stack([columns, columns])
    ways = np.empty((len(costs), *at.shape), np.intp)
    for step, row in enumerate(costs[::-1]):
        left, straight, right = row[side, at], row[side, at + 1], row[side, at + 2]
        aside = np.where(left <= right, -1, 1)
        at = at + aside * (np.minimum(left, right) + ASIDE_COST < straight)
        ways[step] = at
    return ways


def _minima(costs: Ink) -> NDArray[np.intp]:
    """Columns where cutting is cheapest among their neighbours: the middle of each gap, the bottom of each valley."""
    width = len(costs)
    around = np.pad(costs, SPACING_PX, constant_values=np.inf)
    lowest = np.lib.stride_tricks.sliding_window_view(around, 2 * SPACING_PX + 1).min(axis=1)
    low = (costs <= lowest) & (costs <= CUT_INK)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], low, [False]]).astype(np.int8)))
    starts, stops = edges[::2], edges[1::2]
    middles = (starts + stops - 1) // 2
    inside = (starts > 0) & (stops < width)  # the margins are no cut between two parts
    return np.union1d(middles[inside], _between(costs, middles[inside]))


def _between(costs: Ink, known: NDArray[np.intp]) -> NDArray[np.intp]:
    """Columns between the `known` cuts of ink that is wider than one digit."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], costs >= FREE, [False]]).astype(np.int8)))
    found: list[int] = []
    for start, stop in edges.reshape(-1, 2).tolist():
        if stop - start <= WIDE_PX:
            continue
        inner = known[(known >= start) & (known < stop)].tolist()
        ends = [start - 1, *inner, stop]
        for left, right in itertools.pairwise(ends):
            count = (right - left) // STEP_PX
            found.extend(round(left + (right - left) * k / count) for k in range(1, count))
    return np.array([at for at in found if costs[at] <= CUT_MOST_INK], np.intp)


def _pieces(ink: Ink, ways: NDArray[np.intp], costs: Ink) -> Pieces:
    """Every run of up to MAX_PARTS parts that might be a digit."""
    width = ink.shape[1]
    parts = len(ways) + 1
    part_of = (ways[:, :, np.newaxis] <= np.arange(width)).sum(axis=0)  # (height, width)
    part_ink = np.bincount(part_of.ravel(), weights=ink.ravel(), minlength=parts).astype(np.float32)
    lefts, rights = _extents(part_of, ink >= INKED, parts)
    ends = np.concatenate([[0.0], costs, [0.0]])  # ink crossed on both sides of each part
    found: list[tuple[Ink, int, int, tuple[int, int, int, int]]] = []
    for start in np.flatnonzero(rights >= 0).tolist():
        left, right = width, -1
        for stop in range(start + 1, min(start + MAX_PARTS, parts) + 1):
            last = stop - 1
            if rights[last] < 0:
                continue
            if last > start and lefts[last] - right >= GAP_PX:
                break
            left, right = min(left, lefts[last]), max(right, rights[last])
            if right - left > MAX_WIDTH_PX:
                break
            if part_ink[start:stop].sum() < LEAST_INK:
                continue
            first, beyond = max(left - 1, 0), min(right + 1, width)
            near = part_of[:, first:beyond]
            piece = ink[:, first:beyond] * ((near >= start) & (near < stop))
            x, y, w, h = cv2.boundingRect((piece >= INKED).view(np.uint8))
            cut_out = ends[start] >= FREE or ends[stop] >= FREE
            if h < (MIN_CUT_HEIGHT_PX if cut_out else MIN_HEIGHT_PX) or (cut_out and w > MAX_CUT_WIDTH_PX):
                continue
            rim = piece[max(y - 1, 0) : y + h + 1, max(x - 1, 0) : x + w + 1]
            rx, ry, rw, rh = cv2.boundingRect((rim > 0).view(np.uint8))
            found.append(
                (normalised(rim[ry : ry + rh, rx : rx + rw]), start, stop, (first + x, y, first + x + w, y + h))
            )
    images, starts, stops, boxes = zip(*found, strict=True) if found else ((), (), (), ())
    return Pieces(
        images=np.array(images, np.float32).reshape(-1, SIDE, SIDE, 1),
        starts=np.array(starts, np.intp),
        stops=np.array(stops, np.intp),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        part_ink=part_ink,
        cut_ink=costs,
    )


def _extents(
    part_of: NDArray[np.intp], solid: NDArray[np.bool_], parts: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The first column of each part's ink, and the one after its last; -1 where it has none."""
    lefts, rights = np.full(parts, solid.shape[1]), np.full(parts, -1)
    columns = np.nonzero(solid)[1]
    np.minimum.at(lefts, part_of[solid], columns)
    np.maximum.at(rights, part_of[solid], columns + 1)
    return lefts, rights
