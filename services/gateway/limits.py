"""How much one request may hold. Checked where a body is read, before anything large is made of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that one request may hold; the defaults suit a small machine."""

    max_body_bytes: int = 32 * 1024 * 1024  # also after gzip is undone
    max_images: int = 20_000
    max_pixels: int = 25_000_000  # of one encoded image: 5000 x 5000
    max_json_depth: int = 8
