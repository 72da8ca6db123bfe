"""Encoded images <-> arrays of pixels, with OpenCV: PNG, JPEG, WebP, BMP, GIF (first frame) and TIFF.

Formats are told by their bytes, never by their names. A file is walked before it is decoded (services/core/formats),
and the decoder sees only what the walk has kept of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from services.core import small_png
from services.core.budget import Budget
from services.core.errors import InvalidInputError, TooLargeError
from services.core.formats.header import ImageHeader
from services.core.image_headers import is_image, read_header

LARGE_PIXELS = 1 << 20  # larger pictures without transparency are decoded to grey at once: a third of the memory
ENOUGH_SIDE = 1500  # a JPEG is decoded at half, a quarter or an eighth of its size while its longer side keeps so much

# How EXIF's orientations are turned upright: transpose first (5 to 8), then flip (OpenCV's codes; None: no flip).
_TRANSPOSED = frozenset((5, 6, 7, 8))
_FLIP = {2: 1, 3: -1, 4: 0, 5: None, 6: 1, 7: -1, 8: 0}
_REDUCED = {
    1: cv2.IMREAD_GRAYSCALE,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
_FASTEST_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)


class NotSmallError(Exception):
    """A picture that `decode_small` leaves to `decode`; never seen by a caller of the service."""


def decode(data: bytes, *, max_pixels: int, budget: Budget | None = None) -> np.ndarray:
    """The pixels in `data` as uint8, upright: (h, w) grey, (h, w, 3) BGR or (h, w, 4) BGRA.

    Raises TooLargeError when the header promises more than `max_pixels` or than `budget` has left, InvalidInputError
    when it cannot be read, DeadlineError when the budget's time is up.
    """
    header = read_header(data)
    if header.pixels > max_pixels:
        raise TooLargeError(
            f"a {header.format} of {header.width} x {header.height} pixels; at most {max_pixels:,} pixels are read"
        )
    flags, shrunk = _way(header)
    if budget is not None:
        samples = 1 if flags in _REDUCED.values() else 4 if header.transparent else 3
        # OpenCV holds the pixels twice for a moment: its own, and the copy that becomes an array
        written = 2 * header.pixels // shrunk**2 * samples * header.sample_bytes
        budget.take(header.pixels, written + header.working_bytes)
    try:
        picture = cv2.imdecode(np.frombuffer(header.data, np.uint8), flags)
    except cv2.error as exc:
        if exc.code == cv2.Error.StsNoMem:
            raise TooLargeError(f"a {header.format} that takes more memory than one request may use") from exc
        raise InvalidInputError(f"a damaged {header.format}: {exc.err}") from exc
    if picture is None or picture.shape[:2] != (-(-header.height // shrunk), -(-header.width // shrunk)):
        if header.format in ("BMP", "TIFF"):  # of which there are kinds that OpenCV does not know
            raise InvalidInputError(f"a {header.format} that is damaged or of a rare kind: save it as PNG")
        raise InvalidInputError(f"a damaged {header.format}: its pixels cannot be read")
    if picture.dtype != np.uint8:
        picture = _to_uint8(picture, header.format)
    if header.format == "TIFF" and picture.ndim == 3 and picture.shape[2] == 4:
        # libtiff hands over colours already multiplied by alpha: what is missing to opaque is white paper
        picture = picture[..., :3] + (255 - picture[..., 3:])
    return _turned(picture, header.orientation)


def decode_small(data: bytes, *, max_pixels: int, max_width: int = small_png.MAX_SIDE) -> np.ndarray:
    """`decode` for files that cost microseconds, judged by content; NotSmallError for all others."""
    picture = small_png.decode(data, max_width=max_width)
    if picture is None and not is_image(data):
        read_header(data)  # says what is wrong, and needs no decoder for it
    if picture is None or picture.shape[0] * picture.shape[1] > max_pixels:
        raise NotSmallError
    return picture


@dataclass(slots=True)
class SmallPictures:
    """`decode_small` for as many pictures of one request as are left; NotSmallError for more."""

    left: int
    max_pixels: int
    max_width: int

    def decode(self, data: bytes) -> np.ndarray:
        """The next one."""
        self.left -= 1
        if self.left < 0:
            raise NotSmallError
        return decode_small(data, max_pixels=self.max_pixels, max_width=self.max_width)


def encode_png(image: np.ndarray) -> bytes:
    """One float32 picture (28, 28, 1) in [0, 1] as an 8-bit grey PNG."""
    pixels = np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
    return cv2.imencode(".png", pixels, _FASTEST_PNG)[1].tobytes()


def quiet_codecs() -> None:
    """Keep OpenCV's messages about damaged files off stderr: the sender is told in the answer. For process start."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _to_uint8(picture: np.ndarray, format_name: str) -> np.ndarray:
    if picture.dtype == np.uint16:
        return (picture >> 8).astype(np.uint8)
    if picture.dtype == np.float32 and np.isfinite(picture).all():  # TIFF only
        return np.rint(np.clip(picture, 0.0, 1.0) * 255.0).astype(np.uint8)
    raise InvalidInputError(f"a {format_name} of {picture.dtype} samples; 8 or 16 bits or floats in 0..1 are read")


def _way(header: ImageHeader) -> tuple[int, int]:
    """OpenCV's flags for a file, and the divisor of its sides."""
    if header.pixels <= LARGE_PIXELS or header.transparent or header.format in ("GIF", "TIFF"):
        # IMREAD_UNCHANGED keeps transparency, which no JPEG has, and would leave a JPEG's CMYK as it is
        return (cv2.IMREAD_ANYCOLOR if header.format == "JPEG" else cv2.IMREAD_UNCHANGED), 1
    divisor = 1
    if header.format == "JPEG":
        while divisor < 8 and max(header.width, header.height) >= 2 * divisor * ENOUGH_SIDE:
            divisor *= 2
    return _REDUCED[divisor], divisor


def _turned(picture: np.ndarray, orientation: int) -> np.ndarray:
    if orientation in _TRANSPOSED:
        picture = cv2.transpose(picture)
    flip = _FLIP.get(orientation)
    return picture if flip is None else cv2.flip(picture, flip)
