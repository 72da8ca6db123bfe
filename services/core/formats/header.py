"""What a walk over an encoded image finds."""

from __future__ import annotations

from dataclasses import dataclass

from services.core.errors import InvalidInputError

MAX_PIECES = 1 << 16  # chunks, segments or strips of one file; honest ones have a few, a video's worth has thousands


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHeader:
    """A format, the size of its first picture, and what decoding that takes."""

    format: str
    width: int
    height: int
    data: bytes  # what the decoder is to see: the file itself, or as much of it as the first picture needs
    transparent: bool = False
    sample_bytes: int = 1
    working_bytes: int = 0  # that the format's own library needs beside the pixels it puts out
    orientation: int = 1  # EXIF's, 1 to 8: how it is to be turned upright

    @property
    def pixels(self) -> int:
        """Of the first picture."""
        return self.width * self.height


def damaged(format_name: str, what: str) -> InvalidInputError:
    """The error of a file that contradicts itself."""
    return InvalidInputError(f"a damaged {format_name}: {what}")
