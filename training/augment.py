"""Small affine warps: the same digit, written a little differently."""

from __future__ import annotations

import keras
import numpy as np

from services.core.noise import Images

ROTATION_RAD = np.deg2rad(12)
SHEAR = 0.15
SCALE = 0.12
SHIFT_PX = 2.0
CENTRE_PX = 13.5


def warp(images: Images, rng: np.random.Generator, *, share: float = 1.0) -> Images:
    """Rotate, shear, scale and shift each picture by a little; `1 - share` of them stay as they are."""
    count = len(images)
    strength = rng.random(count) < share
    angle, shear = rng.uniform(-ROTATION_RAD, ROTATION_RAD, count), rng.uniform(-SHEAR, SHEAR, count)
    scale_x, scale_y = 1 + rng.uniform(-SCALE, SCALE, (2, count))
    shift = rng.uniform(-SHIFT_PX, SHIFT_PX, (2, count))

    # Output pixel -> input pixel, about the centre: rotation x shear x scale.
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.stack([[cos * scale_x, (cos * shear - sin) * scale_y], [sin * scale_x, (sin * shear + cos) * scale_y]])
    linear = np.where(strength, linear, np.eye(2)[..., None])
    offset = CENTRE_PX - linear.sum(axis=1) * CENTRE_PX + np.where(strength, shift, 0)

    nothing = np.zeros(count)
    rows = [linear[0, 0], linear[0, 1], offset[0], linear[1, 0], linear[1, 1], offset[1], nothing, nothing]
    warped = keras.ops.image.affine_transform(images, np.stack(rows, axis=1).astype(np.float32))
    return keras.ops.convert_to_numpy(warped)
