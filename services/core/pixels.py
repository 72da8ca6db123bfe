"""Raw pixels, as lists, arrays or bytes -> uint8 or float32 pictures (n, 28, 28), checked and in one known range.

Whole numbers 0 to 255 stay uint8; fractions 0 to 1 become float32. Which of the two a list of numbers is, its sender
may say (`scale` 255 or 1); left unsaid it is decided for the request as a whole, and refused where it is open to doubt.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from services.core import npy
from services.core.errors import InvalidInputError

SIDE = 28
PIXELS = SIDE * SIDE
SCALES = (1, 255)
ROUNDING = 1e-3  # fractions may exceed their range by so much: resizing and normalising do, in float32

_NUMBERS = "iuf"  # kinds of dtype
_SHAPES = ((PIXELS,), (SIDE, SIDE), (SIDE, SIDE, 1))


def from_bytes(data: bytes) -> np.ndarray:
    """n x 784 bytes, one a pixel; a view, no copy."""
    if not data or len(data) % PIXELS:
        raise InvalidInputError(f"{len(data)} bytes are not a whole number of pictures of {PIXELS} bytes")
    return np.frombuffer(data, np.uint8).reshape(-1, SIDE, SIDE)


def from_npy(data: bytes) -> np.ndarray:
    """An .npy file of uint8 or float32; a view, no copy. Nothing is unpickled, nothing allocated on a header's word."""
    return from_array(npy.read(data))


def from_array(array: np.ndarray) -> np.ndarray:
    """uint8, or float32 in 0 to 1, shaped as n pictures: (n, 28, 28), (n, 28, 28, 1), (n, 784), or one alone."""
    shape = array.shape
    if shape[-1:] == (1,):
        shape = shape[:-1]
    if shape not in ((PIXELS,), (SIDE, SIDE)) and (len(shape) < 2 or shape[1:] not in ((PIXELS,), (SIDE, SIDE))):
        raise InvalidInputError(f"an array of shape {list(array.shape)}; pictures are [n, 28, 28] or [n, 784]")
    pictures = array.reshape(-1, SIDE, SIDE)
    if not len(pictures):
        raise InvalidInputError("no pictures: the array is empty")
    if pictures.dtype != np.uint8:
        low, high = pictures.min(), pictures.max()
        if not within_range(low, high):
            raise InvalidInputError(f"{pictures.dtype} pixels from {low:g} to {high:g}; they lie between 0 and 1")
    return pictures


def from_lists(images: list[Any], *, scale: int | None = None) -> np.ndarray:
    """Lists of numbers, 28 rows of 28 or 784 each."""
    return from_parts([images], count=len(images), scale=scale)


def from_parts(parts: Iterable[list[Any]], *, count: int, scale: int | None = None) -> np.ndarray:
    """`from_lists` for `count` images that come a part at a time; what they are is decided for all together."""
    arrays: list[np.ndarray] = []
    low, high, whole = math.inf, -math.inf, True
    for images in parts:
        numbers = _exact(images) if scale != 1 else None
        if numbers is None:
            numbers = _all_numbers(images, sum(map(len, arrays)), count)
            whole = whole and np.array_equal(numbers, np.floor(numbers))
        low, high = min(low, float(numbers.min())), max(high, float(numbers.max()))
        arrays.append(numbers if numbers.dtype == np.uint8 or len(images) == count else numbers.astype(np.float32))
    if all(array.dtype == np.uint8 for array in arrays) and (scale == 255 or high > 1):
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    limit = scale or _detected(low, high, whole)
    if not within_range(low, high, limit):
        raise InvalidInputError(f"pixels from {low:g} to {high:g}; with scale {limit} they lie between 0 and {limit}")
    scaled = [(array / limit).astype(np.float32) for array in arrays]
    return scaled[0] if len(scaled) == 1 else np.concatenate(scaled)


def _detected(low: float, high: float, whole: bool) -> int:
    if high <= 1 + ROUNDING:
        return 1
    if whole:
        return 255
    raise InvalidInputError(
        f"pixels from {low:g} to {high:g}, with fractions: neither whole numbers 0 to 255 nor numbers 0 to 1;"
        ' say which with "scale": 255 or 1'
    )


def _exact(images: list[Any]) -> np.ndarray | None:
    """Whole numbers 0 to 255 as they are; None for fractions, and for what is no pictures at all."""
    try:
        exact = np.frombuffer(b"".join(map(_row_bytes, images)), np.uint8).reshape(-1, SIDE, SIDE)
    except (TypeError, ValueError):
        return None
    return exact if len(exact) == len(images) else None


def _row_bytes(image: object) -> bytes:
    """The pixels of one image as bytes; TypeError or ValueError unless all are whole numbers 0 to 255."""
    if type(image) is not list:
        raise TypeError
    if len(image) == SIDE and all(type(row) is list and len(row) == SIDE for row in image):
        if type(image[0][0]) is list:
            raise TypeError
        return b"".join(map(bytes, image))
    if len(image) != PIXELS:
        raise ValueError
    return bytes(image)


def _all_numbers(images: list[Any], first: int, count: int) -> np.ndarray:
    """All at once where they are all alike; one by one to say which is not."""
    try:
        array = np.array(images)
    except (TypeError, ValueError, OverflowError):
        array = np.array(None)
    if array.dtype.kind in _NUMBERS and array.shape[1:] in _SHAPES:
        return array.reshape(-1, SIDE, SIDE).astype(np.float64)
    return np.stack([_numbers(image, index, count) for index, image in enumerate(images, first)])


def _numbers(image: object, index: int, count: int) -> np.ndarray:
    try:
        array = np.array(image)
    except (TypeError, ValueError, OverflowError):
        array = np.array(None)
    if array.dtype.kind not in _NUMBERS:
        raise InvalidInputError(f"{which(index, count)}: not {SIDE} rows of {SIDE} numbers, nor {PIXELS} numbers")
    if array.shape not in _SHAPES:
        raise InvalidInputError(
            f"{which(index, count)}: numbers of shape {list(array.shape)}; a picture is 28 rows of 28 or 784 numbers"
        )
    return array.reshape(SIDE, SIDE).astype(np.float64)


def within_range(low: float, high: float, limit: int = 1) -> bool:
    """Do pixels from `low` to `high` lie between 0 and `limit`? Not if either is NaN."""
    return low >= -ROUNDING and high <= limit + ROUNDING


def which(index: int, count: int) -> str:
    """`image 3 of 8`, as people count."""
    return f"image {index + 1} of {count}"
