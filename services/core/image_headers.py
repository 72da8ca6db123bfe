"""What an encoded image says of itself before it is decoded, walked to its end by its format's module.

A few hundred bytes can promise a picture of gigabytes, or a chunk of them. Reading the promises first, and holding them
against the bytes that are there, is what keeps such files from a decoder. Where a decoder would guess, these refuse.
"""

from __future__ import annotations

import re
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

# What people send besides pictures: how it starts, and what to do about it. HEIC and AVIF start with a length.
_OTHERS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb".{4}ftyp(hei|hev|mif1|msf1)", re.DOTALL), "HEIC is not read: save it as JPEG or PNG"),
    (re.compile(rb".{4}ftypavi", re.DOTALL), "AVIF is not read: save it as JPEG or PNG"),
    (re.compile(rb"II\+\0|MM\0\+"), "BigTIFF is not read: save it as PNG"),
    (re.compile(rb"P[1-7]\s"), "PBM, PGM and PPM are not read: save it as PNG"),
    (re.compile(rb"%PDF"), "PDF is not read: save its page as PNG"),
    (re.compile(rb"\s*<"), "SVG and HTML are not read: save the picture as PNG"),
    (re.compile(rb"iVBORw0KGgo|/9j/|data:"), "base64 is read from JSON: send the file's own bytes, or JSON"),
    (re.compile(rb"\x93NUMPY"), "an .npy file is a body of its own, of type application/x-npy"),
    (re.compile(rb"\x1f\x8b"), "gzip needs the header Content-Encoding: gzip"),
)


def is_image(data: bytes) -> bool:
    """Whether it starts as a file of a format that is read."""
    return any(data.startswith(starts) for _, starts, _ in _READERS)


def advice_on(data: bytes) -> str | None:
    """What to do about a file of another kind that people send; None for all else."""
    return next((advice for start, advice in _OTHERS if start.match(data)), None)


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
    what = advice_on(data) or f"it starts with {data[:8].hex(' ')}"
    raise InvalidInputError(f"not a PNG, JPEG, WebP, BMP, GIF or TIFF: {what}")
