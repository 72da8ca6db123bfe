"""Ruled lines and the boxes of a form, taken out of a picture of a line of digits.

A rule is straight, thin and longer than any stroke of a digit. Its pixels are filled from both its sides, so that
strokes that cross it go on. Walls of boxes are looked for only between two rules, which they join; a 1 does not.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Ink = NDArray[Any]  # float32 in [0, 1]; OpenCV's stubs promise no type
Mask = NDArray[Any]  # uint8: 1 where there is ink

LENGTH_SHARE = 0.85  # of a rule, at least, to the width of all ink: rules and boxes go along the whole line
ALONE = 1.4  # length of a single rule, at least, to the height of all ink; the bar of a 7 is no rule
OUTER_SHARE = 0.25  # of the height of all ink, at its top and bottom: there rules are; bars of a 4 are further in
THICKNESS_SHARE = 0.12  # of a rule, at most, to the height of the picture
COVERED = 0.9  # of its length is ink, looked at in stretches of GRAIN_PX; rows of digits have gaps
GRAIN_PX = 7
STANDS_OUT = 0.35  # a rule is so much darker than what lies a little above and below it; 0 is paper, 1 full ink
ASIDE_SHARE = 0.08  # how far above and below, to the height of the picture
LEAST_AT_ENDS = 0.7  # of the ink of a wall, where it meets a rule; a 1 ends before
SOFT_PX = 1  # rim of a rule, half ink


def without_rules(ink: Ink, smooth: Ink, mask: Mask, threshold: float) -> tuple[Ink, Ink] | None:
    """Both pictures without their level rules and the walls between; None where there are none. `mask`: all ink."""
    left, top, width, height = cv2.boundingRect(mask)
    if not height:
        return None
    length = round(LENGTH_SHARE * width)
    outer = OUTER_SHARE * height
    rules = [
        (start, stop)
        for start, stop in _rules(ink[:, left : left + width], length, threshold)
        if start < top + outer or stop > top + height - 1 - outer
    ]
    if not rules or (len(rules) == 1 and length < LENGTH_SHARE * ALONE * height):
        return None
    ink, smooth = ink.copy(), smooth.copy()
    walls = _walls(ink, rules, threshold)
    for start, stop in rules:
        _fill(ink, start, stop)
        _fill(smooth, start, stop)
    for start, stop in walls:
        _fill(ink.T, start, stop)
        _fill(smooth.T, start, stop)
    return ink, smooth


def _rules(ink: Ink, length: int, threshold: float) -> list[tuple[int, int]]:
    """Rows from start up to stop, of each horizontal rule."""
    without_gaps = np.count_nonzero(cv2.blur(ink, (GRAIN_PX, 1)) >= 0.8 * threshold, axis=1) >= COVERED * ink.shape[1]
    if not without_gaps.any():
        return []
    along = cv2.blur(ink, (length, 1), borderType=cv2.BORDER_REFLECT)
    aside = max(3, round(ASIDE_SHARE * len(ink)))
    far = np.pad(along, ((aside, aside), (0, 0)))
    rise = along - np.maximum(far[: -2 * aside], far[2 * aside :])
    marked = ((along >= threshold) & (rise >= STANDS_OUT)).any(axis=1) & without_gaps
    return _runs(marked, max(2, round(THICKNESS_SHARE * len(ink))))


def _walls(ink: Ink, rules: list[tuple[int, int]], threshold: float) -> list[tuple[int, int]]:
    """Columns of what joins the first rule with the last one."""
    top, bottom = rules[0][1], rules[-1][0]
    if len(rules) < 2 or bottom - top < 0.3 * len(ink):
        return []
    between = ink[top:bottom]
    ends = max(2, len(between) // 12)
    whole = between.mean(axis=0) >= threshold
    least = LEAST_AT_ENDS * threshold
    joined = (between[:ends].mean(axis=0) >= least) & (between[-ends:].mean(axis=0) >= least)
    return _runs(whole & joined, max(2, round(THICKNESS_SHARE * len(ink))))


def _runs(marked: NDArray[np.bool_], most: int) -> list[tuple[int, int]]:
    """Where `marked` is true, as ranges, without those longer than `most`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2) if stop - start <= most]


def _fill(picture: Ink, start: int, stop: int) -> None:
    """Rows from start up to stop, with their soft rims, replaced by what lies above and below them, in place."""
    start, stop = max(start - SOFT_PX, 0), min(stop + SOFT_PX, len(picture))
    above = picture[start - 1] if start else np.zeros_like(picture[0])
    below = picture[stop] if stop < len(picture) else np.zeros_like(picture[0])
    share = np.linspace(0, 1, stop - start + 2, dtype=np.float32)[1:-1, np.newaxis]
    picture[start:stop] = (1 - share) * above + share * below
