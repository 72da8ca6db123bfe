"""PNG: chunks of a length, a kind, that many bytes and a checksum. https://www.w3.org/TR/png-3/"""

from __future__ import annotations

import struct

from services.core.formats.exif import exif_orientation
from services.core.formats.header import MAX_PIECES, ImageHeader, damaged

STARTS = b"\x89PNG\r\n\x1a\n"

_HEADER = struct.Struct(">IIBBBBB")
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # by colour type
_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_NAME = "PNG"


def read(data: bytes) -> ImageHeader:
    """Walk the chunks; an animation's other frames, text and profiles are left out."""
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise damaged(_NAME, "no IHDR at its start")
    width, height, depth, colour, *methods, interlaced = _HEADER.unpack_from(data, 16)
    if int.from_bytes(data[8:12]) != _HEADER.size or depth not in _DEPTHS.get(colour, ()) or any(methods):
        raise damaged(_NAME, f"an IHDR of colour type {colour} and {depth} bits")
    if not width or not height or interlaced > 1:
        raise damaged(_NAME, f"{width} x {height} pixels")
    kept, kinds, exif = [STARTS], [], b""
    for kind, start, end in _chunks(data):
        if kind in _KEPT:
            kept.append(data[start:end])
            kinds.append(kind)
        elif kind == b"eXIf":
            exif = data[start + 8 : end - 4]
        elif not kind[0] & 0x20:
            raise damaged(_NAME, f"a chunk of kind {kind!r}, which is no part of PNG")
    if b"IDAT" not in kinds:
        raise damaged(_NAME, "no IDAT")
    if colour == 3 and b"PLTE" not in kinds[: kinds.index(b"IDAT")]:
        raise damaged(_NAME, "no PLTE, though its colours are a palette's")
    whole = sum(map(len, kept)) == len(data)
    return ImageHeader(
        format=_NAME,
        width=width,
        height=height,
        data=data if whole else b"".join(kept),
        transparent=colour in (4, 6) or b"tRNS" in kinds,
        sample_bytes=2 if depth == 16 else 1,
        orientation=exif_orientation(exif) if exif else 1,
    )


def _chunks(data: bytes) -> list[tuple[bytes, int, int]]:
    """Kind, start and end of each, up to IEND."""
    chunks: list[tuple[bytes, int, int]] = []
    at = len(STARTS)
    while len(chunks) < MAX_PIECES:
        kind = data[at + 4 : at + 8]
        end = at + 12 + int.from_bytes(data[at : at + 4])
        if len(kind) < 4 or end > len(data):
            raise damaged(_NAME, f"it ends inside its chunk {kind.decode('latin-1')!r}, of {end - at - 12} bytes")
        chunks.append((kind, at, end))
        if kind == b"IEND":
            return chunks
        at = end
    raise damaged(_NAME, f"more than {MAX_PIECES} chunks")
