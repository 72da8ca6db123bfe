"""The .npy format, read strictly: a view of the bytes, and nothing that a header claims is believed.

https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. NumPy's own reader evaluates the header as a
literal and lets every exception of that through; here a header is what NumPy writes, or it is refused.
"""

from __future__ import annotations

import io
import math
import re

import numpy as np

from services.core.errors import InvalidInputError

MAX_DIMENSIONS = 8

_DTYPES: dict[str, np.dtype] = {"|u1": np.dtype(np.uint8), "<f4": np.dtype("<f4")}
_OTHERS = {"<f8": "float64", "<f2": "float16", "<i8": "int64", "<i4": "int32", "|b1": "bool", "|O": "object"}
_LENGTHS = {b"\x93NUMPY\1\0": (8, 2), b"\x93NUMPY\2\0": (8, 4), b"\x93NUMPY\3\0": (8, 4)}  # place and size
_HEADER = re.compile(
    r"\{(?:\s*(?:"
    r"'descr'\s*:\s*'(?P<descr>[^'\\]{1,20})'"
    r"|'fortran_order'\s*:\s*(?P<fortran>True|False)"
    r"|'shape'\s*:\s*\((?P<shape>[\d\s,]{0,200})\)"
    r")\s*,?){3}\s*\}\s*"
)
_SHAPE = re.compile(r"\s*(?:\d{1,12}\s*,\s*)*(?:\d{1,12}\s*)?")


def read(data: bytes) -> np.ndarray:
    """The array in a file of uint8 or little-endian float32."""
    place, size = _LENGTHS.get(data[:8], (0, 0))
    if not size:
        raise InvalidInputError("not an .npy file of version 1, 2 or 3")
    start = place + size
    end = start + int.from_bytes(data[place:start], "little")
    if end > len(data):
        raise InvalidInputError("an .npy file that ends inside its header")
    shape, fortran, dtype = _header(data[start:end])
    if len(data) - end != dtype.itemsize * math.prod(shape):
        raise InvalidInputError(f"{len(data) - end} bytes do not fill a {dtype} array of shape {shape}")
    return np.frombuffer(data, dtype, offset=end).reshape(shape, order="F" if fortran else "C")


def written(array: np.ndarray) -> bytes:
    """`array` as an .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    text = head.decode("latin-1")
    match: re.Match[str] | None = _HEADER.fullmatch(text) if len(head) <= 1024 else None
    if match is None or None in match.groupdict().values() or not _SHAPE.fullmatch(match["shape"]):
        raise InvalidInputError(f"an .npy file with a damaged header: {text[:100]!r}")
    dtype = _DTYPES.get(match["descr"])
    if dtype is None:
        name = _OTHERS.get(match["descr"], match["descr"])
        raise InvalidInputError(f"an array of {name}; uint8 and float32 (little-endian) are read")
    shape = tuple(int(size) for size in match["shape"].split(",") if size.strip())
    if len(shape) > MAX_DIMENSIONS or math.prod(size for size in shape if size) > 1 << 40:
        raise InvalidInputError(f"an .npy file of shape {shape}"[:100])
    return shape, match["fortran"] == "True", dtype
