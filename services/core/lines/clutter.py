"""What hides a line, taken out of the picture that the line is looked for in: stripes and thin lines drawn over it.

The strip itself keeps them: the denoiser has learnt to take them away, from digits of the size they were drawn at.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[Any]  # uint8; OpenCV's stubs promise no type
Ink = NDArray[Any]  # float32 in [0, 1]
Mask = NDArray[Any]  # uint8: 1 where there is ink

PAPER_SHARE = 0.25  # the darkest of a row or column are paper, also where it runs along a digit
SHIFTED = 30  # mean change of paper from one row to the next; the rules and boxes of a form make less than 25
JOINING_PX = 1.5  # blur that joins what stripes left of a stroke
DARK, GREY = 38, 178  # of white ink: paper is darker than the first, broad stripes than the second
BROAD_SHARES = (0.25, 0.35, 0.03)  # of all pixels, at least: paper, broad stripes, and ink, which is brighter
ONE_GREY, ONE_GREY_SHARE = 24, 0.62  # most of the broad stripes are as bright as one another; uneven light is not
TALLER = 1.4  # pieces of ink joined by thin lines, to what is left of them without; clean digits stay below
WIDER = 4.0  # such pieces, to the height of what is left: they hold several digits, the ragged ink of one does not
LEAST_LEFT = 0.6  # of the ink without thin lines; where less is left, the digits are thin themselves
_WHITE = 255
_THICK = np.ones((2, 2), np.uint8)


def without_stripes(white: Grey) -> Ink | None:
    """White ink without stripes, rows or columns or broad ones at any angle; None where there are none."""
    for axis in (1, 0):
        rank = int(PAPER_SHARE * white.shape[axis])
        paper = np.expand_dims(np.partition(white, rank, axis=axis).take(rank, axis=axis), axis)
        if np.abs(np.diff(paper.ravel().astype(np.int16))).sum() > SHIFTED * paper.size:
            left = cv2.subtract(white, np.ascontiguousarray(np.broadcast_to(paper, white.shape)))
            return cv2.GaussianBlur(left * np.float32(1 / _WHITE), (0, 0), JOINING_PX)
    darker = np.cumsum(np.bincount(white.ravel(), minlength=_WHITE + 1)) / white.size
    shares = darker[DARK], darker[GREY] - darker[DARK], 1 - darker[GREY]
    alike = (darker[DARK + ONE_GREY : GREY] - darker[DARK : GREY - ONE_GREY]).max()
    broad = all(share >= least for share, least in zip(shares, BROAD_SHARES, strict=True))
    if broad and alike >= ONE_GREY_SHARE * shares[1]:
        return (np.maximum(white, np.uint8(GREY)) - np.uint8(GREY)) * np.float32(1 / (_WHITE - GREY))
    return None


def without_thin_lines(mask: Mask) -> Mask:
    """Ink without lines one pixel thin, where they join digits to something taller."""
    height, width = mean_size(mask)
    if width <= height:  # digits, not joined ones
        return mask
    thick = cv2.morphologyEx(mask, cv2.MORPH_OPEN, _THICK)
    if np.count_nonzero(thick) < LEAST_LEFT * np.count_nonzero(mask):
        return mask
    digit_height, _ = mean_size(thick)
    return thick if height > TALLER * digit_height and width > WIDER * digit_height else mask


def mean_size(mask: Mask) -> tuple[float, float]:
    """Height and width of the pieces that hang together, each weighing as much as it has pixels."""
    stats = cv2.connectedComponentsWithStats(mask, connectivity=8)[2][1:]
    areas = stats[:, cv2.CC_STAT_AREA]
    heights, widths = stats[:, cv2.CC_STAT_HEIGHT], stats[:, cv2.CC_STAT_WIDTH]
    return float(areas @ heights / max(areas.sum(), 1)), float(areas @ widths / max(areas.sum(), 1))
