"""Ink apart from paper: a digit cut out of any grey picture, whatever the light, whichever of the two is the darker.

The paper is estimated as what the picture would be without ink: one grey where the picture's edge is even (a canvas,
a scan), else a median over a window so large that ink is never the majority in it (a photo: gradients and shadows are
followed, and an edge of shadow stays an edge). What stands out against the paper, to the side that stands out more,
is ink.
"""

from __future__ import annotations

import cv2
import numpy as np

WORKING_SIDE = 256  # longer side of the picture the ink is looked for in
EVEN_SPREAD = 12  # grey levels between the 5th and 95th percentile of the edge of a canvas or scan
LEAST_CONTRAST = 0.08  # of the paper's brightness; below it there is no ink
SPECK_SHARE = 0.04  # parts smaller than this share of the largest are dust
STROKE_SHARE = 0.09  # of the ink's longer side: thinner pen strokes are thickened to it, near MNIST's


def find_ink(grey: np.ndarray) -> np.ndarray | None:
    """The ink in a grey picture (uint8), cropped to it: float32 in [0, 1], 1 the strongest. None without any."""
    grey = _shrunk(grey)
    contrast = _contrast(grey, _paper(grey))
    strongest = float(contrast.max())
    if strongest < LEAST_CONTRAST:
        return None
    contrast_8bit = np.rint(contrast * (255 / strongest)).astype(np.uint8)
    threshold, mask = cv2.threshold(contrast_8bit, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    mask = _without_specks(mask)
    left, top, width, height = cv2.boundingRect(mask)
    # half-covered pixels at the rim of a stroke are ink too; paper texture far from it is not
    near = cv2.dilate(mask, np.ones((3, 3), np.uint8))
    full = np.median(contrast_8bit[mask > 0])
    floor = threshold / 2
    strength = np.clip((contrast_8bit.astype(np.float32) - floor) / max(full - floor, 1.0), 0.0, 1.0)
    strength[near == 0] = 0.0
    cut = strength[top : top + height, left : left + width]
    return _thickened(cut, mask[top : top + height, left : left + width])


def _shrunk(grey: np.ndarray) -> np.ndarray:
    scale = WORKING_SIDE / max(grey.shape)
    if scale >= 1:
        return grey
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)


def _paper(grey: np.ndarray) -> np.ndarray:
    """The picture without ink."""
    edge = np.concatenate((grey[0], grey[-1], grey[:, 0], grey[:, -1]))
    low, middle, high = np.percentile(edge, (5, 50, 95))
    if high - low <= EVEN_SPREAD:
        return np.full(grey.shape, round(middle), np.uint8)
    window = max(3, max(grey.shape) // 2 | 1)
    return cv2.medianBlur(grey, window)


def _contrast(grey: np.ndarray, paper: np.ndarray) -> np.ndarray:
    """How far each pixel is from paper, as a share of what is possible there, to the side where ink is."""
    dark = cv2.subtract(paper, grey) / np.maximum(paper, 1).astype(np.float32)
    light = cv2.subtract(grey, paper) / np.maximum(255 - paper, 1).astype(np.float32)
    return dark if _energy(cv2.subtract(paper, grey)) >= _energy(cv2.subtract(grey, paper)) else light


def _energy(difference: np.ndarray) -> float:
    """Cubed, so that a few pixels of ink weigh more than much paper texture."""
    return float(np.sum(difference.astype(np.float64) ** 3))


def _without_specks(mask: np.ndarray) -> np.ndarray:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    keep = areas >= SPECK_SHARE * areas.max()
    keep[0] = False
    return np.where(keep[labels], np.uint8(255), np.uint8(0)) if count > 2 else mask


def _thickened(ink: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A thin pen's strokes as wide as MNIST's, so that they do not fade when shrunk to 20 pixels."""
    wanted = STROKE_SHARE * max(mask.shape)
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)
    # mean depth of a bar of width w is w / 4
    width = 4 * float(depth[padded > 0].mean())
    missing = round(wanted - width)
    if missing < 1:
        return ink
    margin = (missing + 1) // 2
    ink = cv2.copyMakeBorder(ink, margin, margin, margin, margin, cv2.BORDER_CONSTANT)
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (missing + 1, missing + 1))
    return cv2.dilate(ink, brush)
