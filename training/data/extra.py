"""A user's labelled pictures beside MNIST: read, checked, and split into those trained on and those held back.

The file is what `make corrections` exports: `x` uint8 (n, 28, 28) with labels `y`, and `no_digit` uint8 (m, 28, 28) of
pictures that show none. The hash of a picture's pixels decides its side of the split: it stays there when it is in the
file twice and when the file grows, so that a release is never compared on pictures that the last one was trained on.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path

import numpy as np

from services.core.noise import Images
from training.data.dataset import Digits, Extra, Pictures
from training.errors import DataError

ARRAYS = ("x", "y", "no_digit")
SIDE_PX = 28
HELD_BACK = 0.2  # of the pictures


def load_extra(path: Path) -> Extra:
    """Read a file of corrections; raises DataError with what is wrong with it."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            pixels, labels, no_digit = (file[name] for name in ARRAYS)
    except KeyError as exc:
        raise DataError(f"{path} lacks one of the arrays {', '.join(ARRAYS)} that `make corrections` exports") from exc
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile, zlib.error) as exc:
        raise DataError(f"cannot read corrections from {path}: {exc}") from exc
    _check(path, pixels, labels, no_digit)
    digest = hashlib.sha256(b"".join(array.tobytes() for array in (pixels, labels, no_digit))).hexdigest()
    digits_back, none_back = _held_back(pixels), _held_back(no_digit)
    scaled = Digits(_scaled(pixels), labels.astype(np.int32))
    none = _scaled(no_digit)
    return Extra(
        path.name,
        digest,
        train=Pictures(scaled[~digits_back], none[~none_back]),
        held_back=Pictures(scaled[digits_back], none[none_back]),
    )


def _check(path: Path, pixels: np.ndarray, labels: np.ndarray, no_digit: np.ndarray) -> None:
    for name, array in (("x", pixels), ("no_digit", no_digit)):
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[1:] != (SIDE_PX, SIDE_PX):
            raise DataError(f"{path}: {name} has to be uint8 (n, 28, 28), not {array.dtype} {array.shape}")
    if labels.shape != pixels.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{path}: {len(pixels)} pictures need as many whole-number labels, not {labels.dtype} {labels.shape}"
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() <= 9:
        raise DataError(f"{path}: labels are digits from 0 to 9, not {labels.min()} to {labels.max()}")
    if not len(labels) + len(no_digit):
        raise DataError(f"{path} holds no pictures")


def _held_back(pixels: np.ndarray) -> np.ndarray:
    firsts = [hashlib.sha256(picture.tobytes()).digest()[0] for picture in pixels]
    return np.array(firsts, np.uint8) < HELD_BACK * 256


def _scaled(pixels: np.ndarray) -> Images:
    return (pixels / np.float32(255)).astype(np.float32)[..., None]
