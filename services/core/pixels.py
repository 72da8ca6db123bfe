"""Raw pixels, as lists, arrays or bytes -> uint8 or float32 pictures (n, 28, 28), checked and in one known range.

Whole numbers 0 to 255 stay uint8; fractions 0 to 1 become float32. Which of the two a list of numbers is, its sender
may say (`scale` 255 or 1); left unsaid it is decided for the request as a whole, and refused where it is open to doubt.
"""

from __future__ import annotations

import math
from io import BytesIO

import numpy as np

from services.core.errors import InvalidInputError

SIDE = 28
PIXELS = SIDE * SIDE
SCALES = (1, 255)
ROUNDING = 1e-3  # fractions may exceed their range by so much: resizing and normalising do, in float32

_NUMBERS = "iuf"  # kinds of dtype
_SHAPES = ((PIXELS,), (SIDE, SIDE), (SIDE, SIDE, 1))

_MAGIC_BYTES = 8  # of an .npy file: name and version


def from_bytes(data: bytes) -> np.ndarray:
    """n x 784 bytes, one a pixel; a view, no copy."""
    if not data or len(data) % PIXELS:
        raise InvalidInputError(f"{len(data)} bytes are not a whole number of pictures of {PIXELS} bytes")
    return np.frombuffer(data, np.uint8).reshape(-1, SIDE, SIDE)


def from_npy(data: bytes) -> np.ndarray:
    """An .npy file of uint8 or float32; a view, no copy. Nothing is unpickled, nothing allocated on a header's word."""
    reader = {b"\x93NUMPY\1\0": (10, 2), b"\x93NUMPY\2\0": (12, 4)}.get(data[:_MAGIC_BYTES])
    if reader is None:
        raise InvalidInputError("not an .npy file of version 1.0 or 2.0")
    start, length_bytes = reader
    end = start + int.from_bytes(data[start - length_bytes : start], "little")
    shape, fortran, dtype = _npy_header(data[:end], start)
    if dtype not in (np.dtype(np.uint8), np.dtype("<f4")):
        raise InvalidInputError(f"an array of {dtype}; uint8 and float32 (little-endian) are read")
    if len(data) - end != dtype.itemsize * math.prod(shape):
        raise InvalidInputError(f"{len(data) - end} bytes do not fill a {dtype} array of shape {shape}")
    array = np.frombuffer(data, dtype, offset=end).reshape(shape, order="F" if fortran else "C")
    return from_array(array)


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


def from_lists(images: list, *, scale: int | None = None) -> np.ndarray:
    """Lists of numbers, 28 rows of 28 or 784 each."""
    if scale != 1:
        try:
            exact = np.frombuffer(b"".join(map(_row_bytes, images)), np.uint8).reshape(-1, SIDE, SIDE)
        except (TypeError, ValueError):
            pass  # fractions, or not pixels at all: the general way tells them apart
        else:
            if len(exact) == len(images) and (scale == 255 or exact.max() > 1):
                return exact
    numbers = _all_numbers(images)
    low, high = float(numbers.min()), float(numbers.max())
    limit = scale or _detected(numbers, low, high)
    if not within_range(low, high, limit):
        raise InvalidInputError(f"pixels from {low:g} to {high:g}; with scale {limit} they lie between 0 and {limit}")
    return (numbers / limit).astype(np.float32)


def _detected(numbers: np.ndarray, low: float, high: float) -> int:
    if high <= 1 + ROUNDING:
        return 1
    if np.array_equal(numbers, np.floor(numbers)):
        return 255
    raise InvalidInputError(
        f"pixels from {low:g} to {high:g}, with fractions: neither whole numbers 0 to 255 nor numbers 0 to 1;"
        ' say which with "scale": 255 or 1'
    )


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


def _all_numbers(images: list) -> np.ndarray:
    """All at once where they are all alike; one by one to say which is not."""
    try:
        array = np.array(images)
    except (TypeError, ValueError, OverflowError):
        array = np.array(None)
    if array.dtype.kind in _NUMBERS and array.shape[1:] in _SHAPES:
        return array.reshape(-1, SIDE, SIDE).astype(np.float64)
    return np.stack([_numbers(image, index, len(images)) for index, image in enumerate(images)])


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


def _npy_header(head: bytes, start: int) -> tuple[tuple[int, ...], bool, np.dtype]:
    stream = BytesIO(head)
    stream.seek(_MAGIC_BYTES)
    read = np.lib.format.read_array_header_1_0 if start == 10 else np.lib.format.read_array_header_2_0
    try:
        shape, fortran, dtype = read(stream)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as exc:
        raise InvalidInputError(f"an .npy file with a damaged header: {str(exc)[:100]}") from exc
    if any(size < 0 for size in shape):
        raise InvalidInputError(f"an .npy file of shape {shape}")
    return shape, fortran, dtype
