"""BMP: a header, a palette, rows of pixels."""

from __future__ import annotations

import struct

from services.core.errors import InvalidInputError
from services.core.formats.header import ImageHeader, damaged

STARTS = b"BM"

_NAME = "BMP"
_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # bytes of the versions there are
_BITS = (1, 4, 8, 16, 24, 32)
_PLAIN, _RLE8, _RLE4, _FIELDS, _ALPHA_FIELDS = 0, 1, 2, 3, 6


def read(data: bytes) -> ImageHeader:
    """Check that the rows it promises are there."""
    offset, header_bytes = struct.unpack_from("<II", data, 10)
    if header_bytes not in _HEADERS:
        raise damaged(_NAME, f"a header of {header_bytes} bytes")
    if header_bytes == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = _PLAIN
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    height = abs(height)  # negative: the top row comes first
    if width <= 0 or not height or bits not in _BITS:
        raise damaged(_NAME, f"{width} x {height} pixels of {bits} bits")
    if compression in (_RLE8, _RLE4):
        if bits != (8 if compression == _RLE8 else 4):
            raise damaged(_NAME, f"compression {compression} of {bits} bits")
        rows = 2  # at least an end
    elif compression == _PLAIN or (compression in (_FIELDS, _ALPHA_FIELDS) and bits in (16, 32)):
        rows = (width * bits + 31) // 32 * 4 * height
    else:
        raise InvalidInputError(f"a {_NAME} of compression {compression}, which is not read")
    if not 14 + header_bytes <= offset or offset + rows > len(data):
        raise damaged(_NAME, f"{len(data)} bytes where pixels of {rows} bytes begin at {offset}")
    return ImageHeader(
        format=_NAME, width=width, height=height, data=data, transparent=bits == 32, working_bytes=width * height
    )
