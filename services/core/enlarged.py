"""A picture that was enlarged, by a viewer or an editor, with as many pixels as it had before.

Noise that was enlarged with it is coarser than any that a denoiser has seen.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[Any]  # uint8; OpenCV's stubs promise no type

RESIDUE = 0.02  # of a picture's variance that enlarging the smaller one again may leave unexplained; JPEG leaves some
HOPELESS = 0.15  # of it, at first: more than sharpening makes good
SHARPENINGS = 4  # enlarging blurs, and so does taking the middle of a pixel that lies between two


def brought_back(grey: Grey, size: tuple[int, int], *, smooth: bool) -> Grey | None:
    """The picture of this width and height that becomes `grey` when it is enlarged; None if there is none.

    `smooth` is linear and cubic interpolation; else each pixel has become several.
    """
    may_leave = float(grey.std()) ** 2
    if not smooth:
        small = cv2.resize(grey, size, interpolation=cv2.INTER_NEAREST_EXACT)
        for interpolation in (cv2.INTER_NEAREST_EXACT, cv2.INTER_NEAREST):
            if _power(_missing(small, grey, interpolation)) <= RESIDUE * may_leave:
                return small
        return None
    sampled = cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR).astype(np.float32)
    for interpolation in (cv2.INTER_LINEAR, cv2.INTER_CUBIC):
        found, missing = sampled, _missing(sampled, grey, interpolation)
        if _power(missing) > HOPELESS * may_leave:
            continue
        for _ in range(SHARPENINGS):  # back-projection
            found = found + cv2.resize(missing, size, interpolation=cv2.INTER_LINEAR)
            missing = _missing(found, grey, interpolation)
        if _power(missing) <= RESIDUE * may_leave:
            return np.rint(np.clip(found, 0, 255)).astype(np.uint8)
    return None


def _missing(small: Grey, grey: Grey, interpolation: int) -> NDArray[np.float32]:
    return grey - cv2.resize(small, grey.shape[::-1], interpolation=interpolation).astype(np.float32)


def _power(values: NDArray[np.float32]) -> float:
    return float(np.square(values).mean())
