"""The orientation in EXIF data, which is a small TIFF."""

from __future__ import annotations

import struct

from services.core.errors import InvalidInputError
from services.core.formats.tiff import directory

_ORIENTATION = 274


def exif_orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, in an EXIF block; 1, upright, where it says nothing we understand."""
    exif = exif.removeprefix(b"Exif\0\0")
    try:
        values = directory(exif, wanted=(_ORIENTATION,)).get(_ORIENTATION)
    except (struct.error, InvalidInputError):
        return 1
    return values[0] if values and 1 <= values[0] <= 8 else 1
