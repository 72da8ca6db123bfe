"""TIFF: a directory of tags that point into the file. TIFF 6.0, Adobe, 1992."""

from __future__ import annotations

import math
import struct
from collections.abc import Container, Mapping

from services.core.errors import InvalidInputError
from services.core.formats.header import MAX_PIECES, ImageHeader, damaged

STARTS = (b"II*\0", b"MM\0*")

_NAME = "TIFF"
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _SAMPLES, _PLANES = 256, 257, 258, 259, 277, 284
_STRIPS, _STRIP_BYTES, _STRIP_ROWS = 273, 279, 278
_TILES, _TILE_BYTES, _TILE_WIDTH, _TILE_HEIGHT = 324, 325, 322, 323
_WANTED = (
    *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _SAMPLES, _PLANES),
    *(_STRIPS, _STRIP_BYTES, _STRIP_ROWS, _TILES, _TILE_BYTES, _TILE_WIDTH, _TILE_HEIGHT),
)
_COMPRESSIONS = frozenset((1, 2, 3, 4, 5, 7, 8, 32773, 32946))  # none, CCITT's three, LZW, JPEG, deflate, PackBits
_MAX_SAMPLES = 4
_LARGE_TILE = 1024  # a tile may exceed a small picture, but not by much
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes by type
_NUMBERS = {1: "B", 3: "H", 4: "I"}


def read(data: bytes) -> ImageHeader:
    """Check that sizes agree and that all pieces of the first picture lie inside the file; others are cut off."""
    tags = directory(data, wanted=_WANTED)
    width, height = _one(tags, _WIDTH), _one(tags, _HEIGHT)
    if not width or not height:
        raise damaged(_NAME, "no width and height in its first directory")
    compression, samples = _one(tags, _COMPRESSION, 1), _one(tags, _SAMPLES, 1)
    bits = tags.get(_BITS, (1,))
    if compression not in _COMPRESSIONS:
        raise InvalidInputError(f"a {_NAME} of compression {compression}, which is not read")
    if not 1 <= samples <= _MAX_SAMPLES or len(set(bits)) != 1 or len(bits) not in (1, samples) or bits[0] > 64:
        raise damaged(_NAME, f"{samples} samples of {', '.join(map(str, bits[:8]))} bits")
    piece = _check_pieces(tags, len(data), width, height, samples)
    pixel_bits = samples * bits[0]
    return ImageHeader(
        format=_NAME,
        width=width,
        height=height,
        data=_first_only(data),
        transparent=samples == _MAX_SAMPLES,
        sample_bytes=max(1, bits[0] // 8),
        working_bytes=piece * pixel_bits // 8,
    )


def directory(data: bytes, *, wanted: Container[int]) -> dict[int, tuple[int, ...]]:
    """The wanted tags of the first directory that hold whole numbers; every tag must lie inside the file."""
    order = _order(data)
    (start,) = struct.unpack_from(order + "I", data, 4)
    if start + 2 > len(data):
        raise damaged(_NAME, "its directory lies beyond its end")
    (count,) = struct.unpack_from(order + "H", data, start)
    if start + 2 + 12 * count > len(data):
        raise damaged(_NAME, f"it ends inside its directory of {count} tags")
    tags: dict[int, tuple[int, ...]] = {}
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", data, at)
        size = number * _SIZES.get(kind, 1)
        place = at + 8 if size <= 4 else struct.unpack_from(order + "I", data, at + 8)[0]
        if place + size > len(data):
            raise damaged(_NAME, f"tag {tag} lies beyond its end")
        if tag in wanted and kind in _NUMBERS:
            if tag in tags or not 0 < number <= MAX_PIECES:
                raise damaged(_NAME, f"tag {tag} holds {number} numbers, or comes twice")
            tags[tag] = struct.unpack_from(f"{order}{number}{_NUMBERS[kind]}", data, place)
    return tags


def _check_pieces(tags: Mapping[int, tuple[int, ...]], end: int, width: int, height: int, samples: int) -> int:
    """The pixels of one strip or tile, which a decoder holds as a whole."""
    if _TILE_WIDTH in tags or _TILE_HEIGHT in tags or _TILES in tags:
        across, down = _one(tags, _TILE_WIDTH), _one(tags, _TILE_HEIGHT)
        offsets, sizes = tags.get(_TILES, ()), tags.get(_TILE_BYTES, ())
        if not across or not down or _STRIPS in tags:
            raise damaged(_NAME, "tiles without a size, or strips and tiles at once")
        if across > max(width, _LARGE_TILE) or down > max(height, _LARGE_TILE):
            raise damaged(_NAME, f"tiles of {across} x {down} pixels in a picture of {width} x {height}")
    else:
        across, down = width, min(height, _one(tags, _STRIP_ROWS, height))
        offsets, sizes = tags.get(_STRIPS, ()), tags.get(_STRIP_BYTES, ())
        if not down:
            raise damaged(_NAME, "strips of no rows")
    planes = samples if _one(tags, _PLANES, 1) == 2 else 1
    expected = math.ceil(width / across) * math.ceil(height / down) * planes
    if len(offsets) != expected or len(sizes) != expected:
        raise damaged(_NAME, f"{len(offsets)} pieces and {len(sizes)} sizes where its size makes {expected}")
    if any(offset + size > end or not size for offset, size in zip(offsets, sizes, strict=True)):
        raise damaged(_NAME, "a strip or tile lies beyond its end")
    return across * down


def _first_only(data: bytes) -> bytes:
    """The same file without a pointer to another directory."""
    order = _order(data)
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    at = start + 2 + 12 * count
    return data if not any(data[at : at + 4]) else data[:at] + bytes(4) + data[at + 4 :]


def _order(data: bytes) -> str:
    order = {STARTS[0]: "<", STARTS[1]: ">"}.get(data[:4])
    if order is None:
        raise damaged(_NAME, "not classic TIFF")
    return order


def _one(tags: Mapping[int, tuple[int, ...]], tag: int, default: int = 0) -> int:
    values = tags.get(tag, (default,))
    if len(values) != 1:
        raise damaged(_NAME, f"tag {tag} holds {len(values)} numbers")
    return values[0]
