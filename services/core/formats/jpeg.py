"""JPEG: segments of a marker and a length, then image data in which every 0xFF is followed by 0. ITU-T T.81."""

from __future__ import annotations

import re
import struct

from services.core.errors import InvalidInputError
from services.core.formats.exif import exif_orientation
from services.core.formats.header import MAX_PIECES, ImageHeader, damaged

STARTS = b"\xff\xd8"
MAX_SCANS = 100  # a usual progressive JPEG has about ten; thousands cost minutes for a small file

_NAME = "JPEG"
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive; others (arithmetic, lossless) are not in use
_PROGRESSIVE = 0xC2
_TABLES = (0xC4, 0xDB, 0xDD)  # Huffman codes, quantisation, restart interval
_ADOBE = 0xEE  # says how colours are to be understood
_EXIF = 0xE1
_SCAN, _END = 0xDA, 0xD9
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # zero-stuffed bytes, restarts and fill are image data
_KEPT = (*_FRAMES, *_TABLES, _ADOBE)


def read(data: bytes) -> ImageHeader:
    """Walk segments and scans to the end of the image; thumbnails, profiles and comments are left out."""
    kept, at, frame, scans, orientation = [b"\xff\xd8"], 2, b"", 0, 1
    for _ in range(MAX_PIECES):
        marker, start = _marker(data, at)
        if marker == _END:
            break
        at = start + 2 + int.from_bytes(data[start + 2 : start + 4])
        if at > len(data) or at < start + 4:
            raise damaged(_NAME, f"it ends inside its segment {marker:#x}")
        if marker in _KEPT:
            kept.append(data[start:at])
            if marker in _FRAMES:
                if frame:
                    raise damaged(_NAME, "two frame headers")
                frame = data[start:at]
        elif marker == _SCAN:
            if not frame:
                raise damaged(_NAME, "no frame header before the image data")
            scans += 1
            if scans > MAX_SCANS:
                raise InvalidInputError(f"a JPEG of more than {MAX_SCANS} scans")
            found = _AFTER_SCAN.search(data, at)
            if found is None:
                raise damaged(_NAME, "it ends inside its image data")
            at = found.start()
            kept.append(data[start:at])
        elif marker == _EXIF and data[start + 4 : start + 10] == b"Exif\0\0":
            orientation = exif_orientation(data[start + 4 : at])
        elif marker not in range(0xE0, 0xF0) and marker != 0xFE:
            raise damaged(_NAME, f"a segment {marker:#x}, which is not read")
    else:
        raise damaged(_NAME, f"more than {MAX_PIECES} segments")
    if not frame or not scans:
        raise damaged(_NAME, "no image data" if frame else "no frame header")
    kept.append(b"\xff\xd9")
    width, height, coefficients = _size(frame)
    return ImageHeader(
        format=_NAME,
        width=width,
        height=height,
        data=b"".join(kept),
        # a progressive one is held as coefficients of two bytes until its last scan
        working_bytes=2 * coefficients if frame[1] == _PROGRESSIVE or scans > 1 else 0,
        orientation=orientation,
    )


def _marker(data: bytes, at: int) -> tuple[int, int]:
    """The next marker and where it starts; 0xFF may be repeated before it."""
    if data[at : at + 1] != b"\xff":
        raise damaged(_NAME, f"no marker at byte {at}" if at < len(data) else "it ends without an end")
    while data[at + 1 : at + 2] == b"\xff":
        at += 1
    if at + 2 > len(data):
        raise damaged(_NAME, "it ends without an end")
    return data[at + 1], at


def _size(frame: bytes) -> tuple[int, int, int]:
    """Width, height and the number of coefficients that a frame header promises."""
    if len(frame) < 10:
        raise damaged(_NAME, "its frame header is too short")
    precision, height, width, components = struct.unpack_from(">BHHB", frame, 4)
    if precision != 8 or components not in (1, 3, 4) or len(frame) != 10 + 3 * components or not width or not height:
        raise damaged(_NAME, f"{width} x {height} pixels of {components} times {precision} bits")
    factors = [(sampling >> 4, sampling & 15) for sampling in frame[11::3]]
    if not all(1 <= across <= 4 and 1 <= down <= 4 for across, down in factors):
        raise damaged(_NAME, "sampling factors outside 1 to 4")
    most_across, most_down = max(across for across, _ in factors), max(down for _, down in factors)
    mcus = -(-width // (8 * most_across)) * -(-height // (8 * most_down))
    return width, height, sum(64 * mcus * across * down for across, down in factors)
