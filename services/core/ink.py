"""Ink apart from paper: a digit cut out of any grey picture, in uneven light, dark on bright or bright on dark.

The paper is estimated as what the picture would be without ink: one grey where the picture's edge is even (a canvas, a
scan), else a median over a window wider than two strokes (a photo: gradients and shadows are followed, and the edge of
a shadow stays an edge). What stands out against the paper, to the side that stands out more, is ink.
"""

from __future__ import annotations

import cv2
import numpy as np

WORKING_SIDE = 256  # longer side of the picture the ink is looked for in
EVEN_SPREAD = 12  # grey levels between the 5th and 95th percentile of the edge of a canvas or scan
WINDOW_SHARES = (1 / 6, 1 / 2)  # of the longer side: for pens, and for strokes too thick for the first
LEAST_CONTRAST = 0.06  # of the paper's brightness; below it there is no ink
FULL_SHARE = 0.0005  # the strongest pixels, that many of all, say what full ink is
HOLLOW = 1.5  # the wide window sees that much more of the same pieces
LIGHTEST = 0.03  # weight of a piece that still belongs to the digit, to its heaviest piece's
REACH = 0.4  # how far off such a piece may lie, to the longer side of the heaviest
EDGE_WEIGHT = 0.2  # of a piece that touches the edge of the picture
STROKE_SHARE = 0.12  # width of a stroke to the longer side of the ink; in MNIST 0.09 to 0.21, half of them below 0.136


def find_ink(grey: np.ndarray) -> np.ndarray | None:
    """The ink in a grey picture (uint8), cropped to it: float32 in [0, 1], 1 the strongest. None without any."""
    grey = _shrunk(grey)
    contrast = _contrast(grey)
    full = _full(contrast)
    if full < LEAST_CONTRAST:
        return None
    mask = _digit(contrast > full / 2, contrast)
    # What is fainter than half is ink where it touches ink: the rim of a stroke, but not the paper's texture.
    noise = 1.4826 * _quantile(contrast, 0.5)
    floor = min(max(4 * noise, full / 20), full / 3)
    rim = cv2.dilate(mask, np.ones((3, 3), np.uint8))
    strength = np.clip((contrast - floor) / (0.9 * full - floor), 0.0, 1.0) * rim
    left, top, width, height = cv2.boundingRect((strength > 0).astype(np.uint8))
    cut = np.s_[top : top + height, left : left + width]
    return _thickened(strength[cut], mask[cut])


def _shrunk(grey: np.ndarray) -> np.ndarray:
    scale = WORKING_SIDE / max(grey.shape)
    if scale >= 1:
        return grey
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)


def _contrast(grey: np.ndarray) -> np.ndarray:
    """How far each pixel is from paper, as a share of what is possible there, to the side where ink is: float32."""
    edge = np.concatenate((grey[0], grey[-1], grey[:, 0], grey[:, -1]))
    low, middle, high = np.percentile(edge, (5, 50, 95))
    if high - low <= EVEN_SPREAD:
        return _to_one_side(grey, [np.full_like(grey, round(middle))])[0]
    narrow, wide = _to_one_side(grey, [_paper(grey, share) for share in WINDOW_SHARES])
    return wide if _hollow(narrow, wide) else narrow


def _paper(grey: np.ndarray, share: float) -> np.ndarray:
    return cv2.medianBlur(grey, max(3, round(max(grey.shape) * share) | 1))


def _to_one_side(grey: np.ndarray, papers: list[np.ndarray]) -> list[np.ndarray]:
    """The contrast against each of the papers, all to the side that stands out more over all of them."""
    darker = [cv2.subtract(paper, grey) for paper in papers]
    lighter = [cv2.subtract(grey, paper) for paper in papers]
    if sum(map(_energy, darker)) >= sum(map(_energy, lighter)):
        return [more / np.maximum(paper, 1).astype(np.float32) for more, paper in zip(darker, papers, strict=True)]
    return [more / np.maximum(255 - paper, 1).astype(np.float32) for more, paper in zip(lighter, papers, strict=True)]


def _energy(difference: np.ndarray) -> float:
    """Cubed, so that a few pixels of ink weigh more than much paper texture."""
    counts = np.bincount(difference.ravel(), minlength=256)
    return float(counts @ np.arange(256.0) ** 3)


def _hollow(narrow: np.ndarray, wide: np.ndarray) -> bool:
    """Has the narrow window lost much of what it found? Strokes wider than half of it are taken for paper."""
    found = _digit(narrow > _full(narrow) / 2, narrow)
    pieces, labels, stats, _ = cv2.connectedComponentsWithStats((wide > _full(wide) / 2).astype(np.uint8))
    whole = np.bincount(labels[found > 0], minlength=pieces) > 0
    whole[_at_edge(labels)] = False  # shadows
    whole[0] = False
    return stats[whole, cv2.CC_STAT_AREA].sum() > HOLLOW * np.count_nonzero(found)


def _full(contrast: np.ndarray) -> float:
    """The contrast of full ink: what the strongest few pixels reach, not what a single one does."""
    return _quantile(contrast, 1 - FULL_SHARE)


def _quantile(contrast: np.ndarray, share: float) -> float:
    """To 1/1000, which is enough here, and 100 times as fast as np.quantile where most pixels are the same."""
    counts = np.bincount((contrast * 1000).astype(np.uint16).ravel())
    return int(np.searchsorted(np.cumsum(counts), share * contrast.size)) / 1000


def _digit(mask: np.ndarray, contrast: np.ndarray) -> np.ndarray:
    """The part of the mask that is the digit: its heaviest piece, and what lies near it and is not tiny.

    Weights are cubes of contrast, because shadows are fainter than ink; and what touches the picture's edge, as shadows
    and the paper's own edges do, has to be much heavier than what does not.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count == 2:
        return mask.astype(np.uint8)
    weight = np.bincount(labels.ravel(), weights=contrast.ravel() ** 3, minlength=count)
    weight[_at_edge(labels)] *= EDGE_WEIGHT
    weight[0] = 0.0
    main = int(weight.argmax())
    starts = stats[:, [cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP]]
    sizes = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    ends = starts + sizes
    apart = np.maximum(starts - ends[main], starts[main] - ends).max(axis=1)
    keep = (weight >= LIGHTEST * weight[main]) & (apart <= REACH * sizes[main].max())
    return keep[labels].astype(np.uint8)


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
