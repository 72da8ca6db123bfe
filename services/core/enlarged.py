"""A picture that was enlarged, by a viewer or an editor, with as many pixels as it had before.

Noise that was enlarged with it is coarser than any that a denoiser has seen.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[Any]  # uint8; OpenCV's stubs promise no type
Ink = NDArray[Any]  # float32

RESIDUE = 0.02  # of a picture's variance that enlarging the smaller one again may leave unexplained; JPEG leaves some
HOPELESS = 0.15  # of it, at first: more than sharpening makes good
SHARPENINGS = 4  # enlarging blurs, and so does taking the middle of a pixel that lies between two


def before_repeating(grey: Grey, size: tuple[int, int]) -> Grey | None:
    """The picture of this width and height of which each pixel has become several in `grey`; None if there is none."""
    small, most = cv2.resize(grey, size, interpolation=cv2.INTER_NEAREST_EXACT), RESIDUE * float(grey.var())
    for interpolation in (cv2.INTER_NEAREST_EXACT, cv2.INTER_NEAREST):
        again = cv2.resize(small, grey.shape[::-1], interpolation=interpolation)
        if cv2.norm(again, grey, cv2.NORM_L2SQR) <= most * grey.size:
            return small
    return None


def before_smoothing(grey: Grey, size: tuple[int, int]) -> Grey | None:
    """The picture of this width and height that linear or cubic interpolation made `grey` of; None if there is none."""
    sampled = cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR).astype(np.float32)
    variance, wanted = float(grey.var()), grey.astype(np.float32)
    for interpolation in (cv2.INTER_LINEAR, cv2.INTER_CUBIC):
        found, missing = sampled, _missing(sampled, wanted, interpolation)
        if _power(missing) > HOPELESS * variance:
            continue
        for _ in range(SHARPENINGS):  # back-projection
            found = found + cv2.resize(missing, size, interpolation=cv2.INTER_LINEAR)
            missing = _missing(found, wanted, interpolation)
        if _power(missing) <= RESIDUE * variance:
            return np.rint(np.clip(found, 0, 255)).astype(np.uint8)
    return None


def _missing(small: Ink, wanted: Ink, interpolation: int) -> Ink:
    again = cv2.resize(small, wanted.shape[::-1], interpolation=interpolation)
    return cv2.subtract(wanted, again, dst=again)


def _power(values: Ink) -> float:
    return cv2.norm(values, cv2.NORM_L2SQR) / values.size
