"""Affine warps and other pens: the same digit written a little differently, or quite differently, elsewhere."""

from __future__ import annotations

import cv2
import numpy as np

from services.core.noise import Images

SIDE_PX = 28
CENTRE_PX = 13.5
INK_HALF_PX = 10  # of MNIST's 20x20 box
FURTHEST_PX = 6.0
CUT_PX = 2.0  # of a moved digit that may fall outside the frame
SMALL = {"turn": np.deg2rad(12), "shear": 0.15, "shrink": 0.12, "grow": 0.12, "move": 2.0}
WIDE = {"turn": np.deg2rad(30), "shear": 0.25, "shrink": 0.4, "grow": 0.3, "move": FURTHEST_PX}
PEN_SHARE = 0.3  # of the widely warped digits, half of them thinner and half thicker
LEFT_SHARE = 0.4  # of the ink, for a thinner pen to be one
THICKER = np.float32(0.7)  # brightness of what a thicker pen adds: loops stay open
BRUSH = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def warp(images: Images, rng: np.random.Generator, *, small: float = 1.0, wide: float = 0.0) -> Images:
    """Turn, shear, scale and move a share `small` of the pictures by a little, `wide` of them by much."""
    count = len(images)
    place = rng.random(count)
    ranges = np.zeros((count, 5))
    ranges[place < small + wide] = list(SMALL.values())
    ranges[place < wide] = list(WIDE.values())
    turn, shear = rng.uniform(-1, 1, (2, count)) * ranges[:, :2].T
    scale = rng.uniform(1 - ranges[:, 2], 1 + ranges[:, 3])
    stretch = 1 + rng.uniform(-0.5, 0.5, count) * ranges[:, 1]
    reach = np.minimum(ranges[:, 4], SIDE_PX / 2 + CUT_PX - INK_HALF_PX * scale)
    way = rng.uniform(-1, 1, (2, count))
    way = np.where(place < wide, np.sign(way) * np.sqrt(np.abs(way)), way)  # far rather than near
    move = way * np.maximum(reach, 0)
    cos, sin = np.cos(turn), np.sin(turn)
    # Input pixel -> output pixel, about the centre.
    linear = np.stack(
        [[cos * scale * stretch, (cos * shear - sin) * scale], [sin * scale * stretch, (sin * shear + cos) * scale]]
    )
    offset = CENTRE_PX - linear.sum(axis=1) * CENTRE_PX + move
    matrices = np.concatenate([linear, offset[:, None]], axis=1).transpose(2, 0, 1)
    pens = np.where(place < wide, rng.random(count), 1.0)

    warped = images.copy()
    for index in np.flatnonzero(place < small + wide):
        picture: np.ndarray = images[index, ..., 0]
        if pens[index] < PEN_SHARE / 2:
            thinner = cv2.erode(picture, BRUSH)
            picture = thinner if thinner.sum() > LEFT_SHARE * picture.sum() else picture
        elif pens[index] < PEN_SHARE:
            picture = np.maximum(picture, THICKER * cv2.dilate(picture, BRUSH))
        warped[index, ..., 0] = cv2.warpAffine(picture, matrices[index], (SIDE_PX, SIDE_PX), flags=cv2.INTER_LINEAR)
    return warped


def moved(image: Images, right: int, down: int) -> Images:
    """One picture, by whole pixels; what leaves the frame is gone."""
    matrix = np.array([[1.0, 0, right], [0, 1.0, down]])
    return cv2.warpAffine(image[..., 0], matrix, (SIDE_PX, SIDE_PX))[..., None].astype(np.float32, copy=False)
