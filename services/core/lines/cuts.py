"""Where a strip can be cut: ways from its top to its bottom that cross little ink.

A cut is the cheapest way from the top of the strip to its bottom, at most one column aside per row: through a gap it
costs nothing, also between slanted digits whose columns overlap; through a stroke it costs the ink it crosses. Cuts are
the local minima of that cost, and in ink too wide for one digit every third column between them: where digits touch
along a whole stroke no column is cheaper than the next.
"""

from __future__ import annotations

import itertools
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Ink = NDArray[Any]  # float32 in [0, 1]; OpenCV's stubs promise no type

CUT_INK = 5.0  # ink a cut may cross: two strokes, hardly more
ASIDE_COST = np.float32(0.05)  # of one column aside, so that ways are straight where nothing speaks against it
SPACING_PX = 2  # between two cuts
FREE = 0.5  # ink that a cut through a gap may cross
WIDE_PX = 16  # between two gaps: wider ink may be several digits, and is cut at every STEP_PX as well
STEP_PX = 3
CUT_MOST_INK = 12.0  # ink that such a cut may cross
_SPACING = np.ones((1, 2 * SPACING_PX + 1), np.uint8)


def ways(ink: Ink) -> tuple[NDArray[np.intp], Ink]:
    """Cuts from left to right: each row's column (n, height), and the ink each crosses (n,)."""
    height, width = ink.shape
    middle = height // 2
    halves = np.zeros((middle, 2, width), np.float32)  # from the top down to the middle, and from the bottom up to it
    halves[:, 0], halves[middle - (height - middle - 1) :, 1] = ink[:middle], ink[:middle:-1]
    costs = np.full((middle, 2, width + 2), np.inf, np.float32)  # of the cheapest way to each pixel
    costs[0, :, 1:-1] = halves[0]
    rows = zip(costs[..., :-2], costs[..., 1:-1], costs[..., 2:], halves[1:], costs[1:, :, 1:-1], strict=False)
    for left, straight, right, own, into in rows:
        np.minimum(left, right, out=into)
        into += ASIDE_COST
        np.minimum(into, straight, out=into)
        into += own
    through = ink[middle] + _step(costs[-1]).sum(axis=0)
    columns = _minima(through)
    back = _back(costs, columns)
    below = height - middle - 1
    found = np.concatenate([back[::-1, 0], columns[np.newaxis], back[:below, 1]]).T
    return np.maximum.accumulate(found, axis=0), through[columns]


def _step(costs: Ink) -> Ink:
    """The cheapest way into each column of the next row; `costs` has a column more on both sides."""
    return np.minimum(costs[:, 1:-1], np.minimum(costs[:, :-2], costs[:, 2:]) + ASIDE_COST)


def _back(costs: Ink, columns: NDArray[np.intp]) -> NDArray[np.intp]:
    """The ways that lead to `columns` of the middle, from there outwards: (rows, 2, n)."""
    left, straight, right = costs[..., :-2], costs[..., 1:-1], costs[..., 2:]
    aside = np.where(left <= right, -1, 1) * (np.minimum(left, right) + ASIDE_COST < straight)
    width = aside.shape[-1]
    at = np.concatenate([columns, columns + width])
    ways = np.empty((len(costs), len(at)), np.intp)
    for step, row in enumerate(aside.reshape(len(costs), -1)[::-1]):
        at = at + row[at]
        ways[step] = at
    return ways.reshape(len(costs), 2, -1) - np.array([[0], [width]])


def _minima(costs: Ink) -> NDArray[np.intp]:
    """Columns where cutting is cheapest among their neighbours: the middle of each gap, the bottom of each valley."""
    width = len(costs)
    lowest = cv2.erode(costs[np.newaxis], _SPACING)[0]
    low = (costs <= lowest) & (costs <= CUT_INK)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], low, [False]]).astype(np.int8)))
    starts, stops = edges[::2], edges[1::2]
    middles = (starts + stops - 1) // 2
    inside = (starts > 0) & (stops < width)  # the margins are no cut between two parts
    known = middles[inside]
    more = _between(costs, known)
    return np.unique(np.concatenate([known, more])) if len(more) else known


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
