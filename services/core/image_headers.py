"""What an encoded image says of itself before it is decoded, walked to its end by its format's module.

A few hundred bytes can promise a picture of gigabytes, or a chunk of them. Reading the promises first, and holding them
against the bytes that are there, is what keeps such files from a decoder. Where a decoder would guess, these refuse.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from services.core.errors import InvalidInputError
from services.core.formats import bmp, gif, jpeg, png, tiff, webp
from services.core.formats.header import ImageHeader

_READERS: tuple[tuple[str, bytes | tuple[bytes, ...], Callable[[bytes], ImageHeader]], ...] = (
    ("PNG", png.STARTS, png.read),
    ("JPEG", jpeg.STARTS, jpeg.read),
    ("WebP", webp.STARTS, webp.read),
    ("BMP", bmp.STARTS, bmp.read),
    ("GIF", gif.STARTS, gif.read),
    ("TIFF", tiff.STARTS, tiff.read),
)


def is_image(data: bytes) -> bool:
    """Whether it starts as a file of a format that is read."""
    return any(data.startswith(starts) for _, starts, _ in _READERS)


def read_header(data: bytes) -> ImageHeader:
    """The format of `data` by its first bytes, its size and its cost; InvalidInputError if it is none that we read."""
    for name, starts, read in _READERS:
        if data.startswith(starts) and (name != "WebP" or data[8:12] == b"WEBP"):
            try:
                return read(data)
            except (struct.error, IndexError):
                raise InvalidInputError(f"a damaged {name}: it ends inside its header") from None
    if not data:
        raise InvalidInputError("an empty image: 0 bytes")
    raise InvalidInputError(f"not a PNG, JPEG, WebP, BMP, GIF or TIFF: it starts with {data[:8].hex(' ')}")
