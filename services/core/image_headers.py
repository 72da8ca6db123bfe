"""What an encoded image says of itself before it is decoded: its format and its size.

A few hundred bytes can promise a picture of gigabytes. Reading the promise first, from the header alone, is what keeps
such files from being decoded. Each reader follows its format strictly: where a decoder would guess, it refuses.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from services.core.errors import InvalidInputError

MAX_JPEG_SCANS = 100  # a usual progressive JPEG has about ten; thousands cost minutes for a small file

_ORIENTATION, _WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT = 274, 256, 257, 322, 323


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """A format and the size it promises, in pixels."""

    format: str
    width: int
    height: int


def read_header(data: bytes) -> ImageHeader:
    """The format of `data` by its first bytes, and its size; InvalidInputError if it is none that we read."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":  # first, and without a helper: nearly every request is one
        if data[12:16] != b"IHDR" or len(data) < 24:
            raise InvalidInputError("a damaged PNG: no IHDR at its start")
        return ImageHeader("PNG", int.from_bytes(data[16:20]), int.from_bytes(data[20:24]))
    for name, starts, size in _READERS:
        if data.startswith(starts):
            if name == "WebP" and data[8:12] != b"WEBP":
                continue
            try:
                return ImageHeader(name, *size(data))
            except (struct.error, IndexError):
                raise InvalidInputError(f"a damaged {name}: it ends inside its header") from None
    if not data:
        raise InvalidInputError("an empty image: 0 bytes")
    raise InvalidInputError(f"not a PNG, JPEG, WebP, BMP, GIF or TIFF: it starts with {data[:8].hex(' ')}")


def exif_orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, in an EXIF block (a small TIFF); 1, upright, where it says nothing we understand."""
    exif = exif.removeprefix(b"Exif\0\0")
    try:
        value = _tags(exif).get(_ORIENTATION, 1)
    except (struct.error, IndexError, InvalidInputError):
        return 1
    return value if 1 <= value <= 8 else 1


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """The size in the frame header (SOF), found by walking over the segments before it."""
    if data.count(b"\xff\xda") > MAX_JPEG_SCANS:  # inside image data 0xff is always followed by 0 or a restart marker
        raise InvalidInputError(f"a JPEG of more than {MAX_JPEG_SCANS} scans")
    at = 2
    while True:
        if data[at] != 0xFF:
            raise InvalidInputError(f"a damaged JPEG: no marker at byte {at}")
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        if marker in (0xD9, 0xDA):
            raise InvalidInputError("a damaged JPEG: no frame header before the image data")
        at += 2 if marker == 0x01 or 0xD0 <= marker <= 0xD8 else 2 + struct.unpack_from(">H", data, at + 2)[0]


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        packed = struct.unpack_from("<HBHB", data, 24)
        return (packed[0] | packed[1] << 16) + 1, (packed[2] | packed[3] << 16) + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise InvalidInputError("a damaged WebP: no image chunk at its start")


def _bmp_size(data: bytes) -> tuple[int, int]:
    (header_bytes,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header_bytes == 12 else "<ii", data, 18)
    return abs(width), abs(height)  # a negative height means top row first


def _gif_size(data: bytes) -> tuple[int, int]:
    return struct.unpack_from("<HH", data, 6)


def _tiff_size(data: bytes) -> tuple[int, int]:
    """The larger of picture and tile: a decoder holds a whole tile in memory, however small the picture."""
    tags = _tags(data)
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise InvalidInputError("a damaged TIFF: no width and height in its first directory")
    return max(tags[_WIDTH], tags.get(_TILE_WIDTH, 0)), max(tags[_HEIGHT], tags.get(_TILE_HEIGHT, 0))


def _tags(data: bytes) -> dict[int, int]:
    """Tags of the first directory of a TIFF that hold one short or long; of a repeated tag the largest value."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        raise InvalidInputError("a damaged TIFF: not classic TIFF")
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    tags: dict[int, int] = {}
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", data, at)
        if kind in (3, 4):
            (value,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, at + 8)
            tags[tag] = max(value, tags.get(tag, 0))
    return tags


_READERS: tuple[tuple[str, bytes | tuple[bytes, ...], Callable[[bytes], tuple[int, int]]], ...] = (
    ("JPEG", b"\xff\xd8", _jpeg_size),
    ("WebP", b"RIFF", _webp_size),
    ("BMP", b"BM", _bmp_size),
    ("GIF", (b"GIF87a", b"GIF89a"), _gif_size),
    ("TIFF", (b"II*\0", b"MM\0*"), _tiff_size),
)
