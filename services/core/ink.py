"""Ink apart from paper: a digit cut out of any grey picture, in uneven light, dark on bright or bright on dark.

The paper is estimated as what the picture would be without ink: one grey where the picture's edge is even (a canvas, a
scan), else what a morphological closing leaves, or for bright ink an opening, with a window wider than a stroke (a
photo: gradients and shadows are followed, the edge of a shadow stays an edge, and ink may cross the picture's edge).
What stands out against the paper, to the side that stands out more, is ink; where both do about as much, as beside the
edge of a shadow, it also counts how heavy the digit would be.
"""

from __future__ import annotations

import cv2
import numpy as np

WORKING_SIDES = 28, 256  # longer side of the picture the ink is looked for in: smaller ones are enlarged
EVEN_SPREAD = 12  # grey levels between the 5th and 95th percentile of the edge of a canvas or scan
MEDIAN_SHARES = (1 / 6, 1 / 2)  # of the longer side: windows of the medians that tell dark ink from bright
CLEARLY = 2.0  # one side stands out so many times as much as the other: it is ink
STROKE_WINDOW = 0.28  # of the longer side, more than a stroke is wide even where the digit fills the picture
LEAST_CONTRAST = 0.06  # of the paper's brightness; below it there is no ink
FULL_SHARE = 0.0005  # the strongest pixels, that many of all, say what full ink is
LIGHTEST = 0.03  # weight of a piece that still belongs to the digit, to its heaviest piece's
REACH = 0.4  # how far off such a piece may lie, to the longer side of the heaviest
EDGE_WEIGHT = 0.2  # of a piece that touches the edge of the picture
STROKE_SHARE = 0.12  # width of a stroke to the longer side of the ink; in MNIST 0.09 to 0.21, half of them below 0.136


def find_ink(grey: np.ndarray) -> np.ndarray | None:
    """The ink in a grey picture (uint8), cropped to it: float32 in [0, 1], 1 the strongest. None without any."""
    grey = _at_working_size(grey)
    contrast = _contrast(grey)
    full = _full(contrast)
    if full < LEAST_CONTRAST:
        return None
    mask = _digit(contrast, full)
    # What is fainter than half is ink where it touches ink: the rim of a stroke, but not the paper's texture.
    noise = 1.4826 * _quantile(contrast, 0.5)
    floor = min(max(4 * noise, full / 20), full / 3)
    rim = cv2.dilate(mask, np.ones((3, 3), np.uint8))
    strength = np.clip((contrast - floor) / (0.9 * full - floor), 0.0, 1.0) * rim
    left, top, width, height = cv2.boundingRect((strength > 0).astype(np.uint8))
    cut = np.s_[top : top + height, left : left + width]
    return _thickened(strength[cut], mask[cut])


def _at_working_size(grey: np.ndarray) -> np.ndarray:
    least, most = WORKING_SIDES
    longer = max(grey.shape)
    if least <= longer <= most:
        return grey
    scale = most / longer if longer > most else -(-least // longer)
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _contrast(grey: np.ndarray) -> np.ndarray:
    """How far each pixel is from paper, as a share of what is possible there, to the side where ink is: float32."""
    edge = np.concatenate((grey[0], grey[-1], grey[:, 0], grey[:, -1]))
    even = _even_paper(edge)
    if even is not None:
        paper = np.full_like(grey, even)
        darker, brighter = _outstanding(grey, [paper])
        return contrast_to(paper, grey, dark=darker >= brighter)
    darker, brighter = _outstanding(grey, [cv2.medianBlur(grey, _window(grey, share)) for share in MEDIAN_SHARES])
    if max(darker, brighter) >= CLEARLY * min(darker, brighter):
        return _contrast_to_uneven(grey, dark=darker >= brighter)
    dark, bright = (_contrast_to_uneven(grey, dark=dark) for dark in (True, False))
    return dark if darker * _weight_of_digit(dark) >= brighter * _weight_of_digit(bright) else bright


def _contrast_to_uneven(grey: np.ndarray, *, dark: bool) -> np.ndarray:
    kernel = np.ones((_window(grey, STROKE_WINDOW),) * 2, np.uint8)
    paper = cv2.morphologyEx(cv2.medianBlur(grey, 5), cv2.MORPH_CLOSE if dark else cv2.MORPH_OPEN, kernel)
    return contrast_to(paper, grey, dark=dark)


def contrast_to(paper: np.ndarray, grey: np.ndarray, *, dark: bool) -> np.ndarray:
    """How far grey is from paper, to the side where ink is, as a share of what is possible there: float32."""
    if dark:
        return cv2.subtract(paper, grey) / np.maximum(paper, 1).astype(np.float32)
    return cv2.subtract(grey, paper) / np.maximum(255 - paper, 1).astype(np.float32)


def _even_paper(edge: np.ndarray) -> int | None:
    """The paper's grey where the edge of the picture says that it is the same everywhere, else None."""
    low, middle, high = np.percentile(edge, (5, 50, 95))
    if high - low <= EVEN_SPREAD:
        return round(middle)
    counts = np.bincount(edge)
    commonest = int(counts.argmax())  # drawn by a program and cropped to the ink, which then crosses the edge
    return commonest if 2 * counts[commonest] >= len(edge) else None


def _window(grey: np.ndarray, share: float) -> int:
    return max(3, round(max(grey.shape) * share) | 1)


def _outstanding(grey: np.ndarray, papers: list[np.ndarray]) -> tuple[float, float]:
    """How much of the picture is darker than paper, and how much is brighter, over these estimates of it."""
    darker = sum(_energy(cv2.subtract(paper, grey)) for paper in papers)
    return darker, sum(_energy(cv2.subtract(grey, paper)) for paper in papers)


def _energy(difference: np.ndarray) -> float:
    """Cubed, so that a few pixels of ink weigh more than much paper texture."""
    counts = np.bincount(difference.ravel(), minlength=256)
    return float(counts @ np.arange(256.0) ** 3)


def _full(contrast: np.ndarray) -> float:
    """The contrast of full ink: what the strongest few pixels reach, not what a single one does."""
    return _quantile(contrast, 1 - FULL_SHARE)


def _quantile(contrast: np.ndarray, share: float) -> float:
    """To 1/1000, which is enough here, and 100 times as fast as np.quantile where most pixels are the same."""
    counts = np.bincount((contrast * 1000).astype(np.uint16).ravel())
    return int(np.searchsorted(np.cumsum(counts), share * contrast.size)) / 1000


def _digit(contrast: np.ndarray, full: float) -> np.ndarray:
    """Where the digit is (1, else 0): its heaviest piece, and what lies near it and is not tiny."""
    labels, stats, weight = _pieces(contrast, full)
    if len(weight) == 2:
        return (labels > 0).astype(np.uint8)
    main = int(weight.argmax())
    starts = stats[:, [cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP]]
    sizes = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    ends = starts + sizes
    apart = np.maximum(starts - ends[main], starts[main] - ends).max(axis=1)
    keep = (weight >= LIGHTEST * weight[main]) & (apart <= REACH * sizes[main].max())
    return keep[labels].astype(np.uint8)


def _weight_of_digit(contrast: np.ndarray) -> float:
    full = _full(contrast)
    return 0.0 if full < LEAST_CONTRAST else float(_pieces(contrast, full)[2].max())


def _pieces(contrast: np.ndarray, full: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pieces of what may be ink: OpenCV's labels and stats, and what each weighs; the first is what is none.

    Weights are cubes of contrast, because shadows are fainter than ink; and what touches the picture's edge, as shadows
    and the paper's own edges do, has to be much heavier than what does not.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats((contrast > full / 2).view(np.uint8), connectivity=8)
    weight = np.bincount(labels.ravel(), weights=contrast.ravel() ** 3, minlength=count)
    weight[_at_edge(labels)] *= EDGE_WEIGHT
    weight[0] = 0.0
    return labels, stats, weight


def _at_edge(labels: np.ndarray) -> np.ndarray:
    """The pieces that touch the edge of the picture."""
    return np.unique(np.concatenate((labels[0], labels[-1], labels[:, 0], labels[:, -1])))


def _thickened(ink: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A thin pen's strokes as wide as MNIST's, so that they do not fade when shrunk to 20 pixels."""
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)
    width = 4 * float(depth[padded > 0].mean())  # the mean depth of a bar of width w is w / 4
    longer = max(mask.shape)
    # the brush widens the picture as well: (width + b) / (longer + b) is to be the share
    missing = round((STROKE_SHARE * longer - width) / (1 - STROKE_SHARE))
    if missing < 1:
        return ink
    margin = (missing + 1) // 2
    ink = cv2.copyMakeBorder(ink, margin, margin, margin, margin, cv2.BORDER_CONSTANT)
    return cv2.dilate(ink, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (missing + 1, missing + 1)))
