"""Encoded images <-> arrays of pixels, with OpenCV: PNG, JPEG, WebP, BMP, GIF (first frame) and TIFF.

Formats are told by their bytes, never by their names. Sizes are checked before anything is decoded.
"""

from __future__ import annotations

import cv2
import numpy as np

from services.core import small_png
from services.core.budget import Budget
from services.core.errors import InvalidInputError, TooLargeError
from services.core.image_headers import exif_orientation, read_header

# How EXIF's orientations are turned upright: transpose first (5 to 8), then flip (OpenCV's codes; None: no flip).
_TRANSPOSED = frozenset((5, 6, 7, 8))
_FLIP = {2: 1, 3: -1, 4: 0, 5: None, 6: 1, 7: -1, 8: 0}
_EXIF_MARK = {"PNG": b"eXIf", "WebP": b"EXIF"}
_FASTEST_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)


class NotSmallError(Exception):
    """A picture that `decode_small` leaves to `decode`; never seen by a caller of the service."""


def decode(data: bytes, *, max_pixels: int, budget: Budget | None = None) -> np.ndarray:
    """The pixels in `data` as uint8, upright: (h, w) grey, (h, w, 3) BGR or (h, w, 4) BGRA.

    Raises TooLargeError when the header promises more than `max_pixels` or than `budget` has left, InvalidInputError
    when it cannot be read, DeadlineError when the budget's time is up.
    """
    header = read_header(data)
    if header.width * header.height > max_pixels:
        raise TooLargeError(
            f"a {header.format} of {header.width} x {header.height} pixels; at most {max_pixels:,} pixels are read"
        )
    if budget is not None:
        budget.take(header.width * header.height, 4 * header.width * header.height)
    # IMREAD_UNCHANGED keeps transparency but does not turn by EXIF; a JPEG has none, so OpenCV may turn it.
    flags = cv2.IMREAD_ANYCOLOR if header.format == "JPEG" else cv2.IMREAD_UNCHANGED
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as exc:
        raise InvalidInputError(f"a damaged {header.format}: {exc.err}") from exc
    if picture is None:
        raise InvalidInputError(f"a damaged {header.format}: its pixels cannot be read")
    if picture.dtype != np.uint8:
        picture = _to_uint8(picture, header.format)
    if header.format in _EXIF_MARK:
        if _EXIF_MARK[header.format] in data:
            picture = _turned(picture, _orientation(data))
    elif header.format == "TIFF" and picture.ndim == 3 and picture.shape[2] == 4:
        # libtiff hands over colours already multiplied by alpha: what is missing to opaque is white paper
        picture = picture[..., :3] + (255 - picture[..., 3:])
    return picture


def decode_small(data: bytes, *, max_pixels: int) -> np.ndarray:
    """`decode` for what costs microseconds, whatever the file claims; NotSmallError for all other files."""
    picture = small_png.decode(data)
    if picture is None or picture.shape[0] * picture.shape[1] > max_pixels:
        raise NotSmallError
    return picture


def encode_png(image: np.ndarray) -> bytes:
    """One float32 picture (28, 28, 1) in [0, 1] as an 8-bit grey PNG."""
    pixels = np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
    return cv2.imencode(".png", pixels, _FASTEST_PNG)[1].tobytes()


def quiet_codecs() -> None:
    """Keep OpenCV's complaints about damaged files off stderr: whoever sent the file is told. For process start."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _to_uint8(picture: np.ndarray, format_name: str) -> np.ndarray:
    if picture.dtype == np.uint16:
        return (picture >> 8).astype(np.uint8)
    if picture.dtype == np.float32 and np.isfinite(picture).all():  # TIFF only
        return np.rint(np.clip(picture, 0.0, 1.0) * 255.0).astype(np.uint8)
    raise InvalidInputError(f"a {format_name} of {picture.dtype} samples; 8 or 16 bits or floats in 0..1 are read")


def _orientation(data: bytes) -> int:
    _, kinds, blocks = cv2.imdecodeWithMetadata(np.frombuffer(data, np.uint8), flags=cv2.IMREAD_UNCHANGED)
    for kind, block in zip(kinds, blocks, strict=True):
        if kind == cv2.IMAGE_METADATA_EXIF:
            return exif_orientation(np.asarray(block).tobytes())
    return 1


def _turned(picture: np.ndarray, orientation: int) -> np.ndarray:
    if orientation in _TRANSPOSED:
        picture = cv2.transpose(picture)
    flip = _FLIP.get(orientation)
    return picture if flip is None else cv2.flip(picture, flip)
