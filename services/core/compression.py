"""Content-Encoding undone: gzip and deflate, whole and bounded, or an error that says what is wrong."""

from __future__ import annotations

import zlib

from services.core.errors import InvalidInputError, TooLargeError, UnsupportedMediaError

MAX_RATIO = 200  # clean digits come to 1:20 as JSON, noisy ones to 1:4; only emptiness comes to more
ANY_RATIO_BYTES = 1024 * 1024  # so much may come of any body
MAX_MEMBERS = 64  # of a gzip body

_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def is_encoded(encoding: str | None) -> bool:
    """Whether a body with this Content-Encoding needs `inflate`."""
    return encoding is not None and encoding.strip().lower() not in ("", "identity")


def check_encoding(encoding: str | None) -> None:
    """Refuse a coding that `inflate` does not know, before there is a body."""
    if is_encoded(encoding) and encoding is not None and encoding.strip().lower() not in _WINDOW_BITS:
        raise UnsupportedMediaError(f"Content-Encoding {encoding[:40]!r}; bodies are gzip, deflate or identity")


def inflate(body: bytes | memoryview, encoding: str, *, max_bytes: int) -> bytes:
    """Undo one coding, never making more than `max_bytes`; all members of a gzip body, and nothing may follow them."""
    check_encoding(encoding)
    name = encoding.strip().lower()
    allowed = min(max_bytes, max(ANY_RATIO_BYTES, MAX_RATIO * len(body)))
    parts: list[bytes] = []
    left, rest = allowed, body
    while True:
        stream = zlib.decompressobj(_WINDOW_BITS[name])
        try:
            data = stream.decompress(rest, left + 1)
        except zlib.error as exc:
            raise InvalidInputError(f"a body that is not {name}{_where(parts)}: {exc}") from exc
        left -= len(data)
        if left < 0:
            raise TooLargeError(
                f"the body has more than {max_bytes} bytes once it is inflated"
                if allowed == max_bytes
                else f"the body inflates to more than {MAX_RATIO} times its {len(body)} bytes"
            )
        if not stream.eof:
            raise InvalidInputError(f"a {name} body that ends too soon")
        parts.append(data)
        rest = stream.unused_data
        if not rest:
            return data if len(parts) == 1 else b"".join(parts)
        if name == "deflate" or len(parts) == MAX_MEMBERS:
            raise InvalidInputError(f"{len(rest)} bytes follow the {name} data")


def _where(parts: list[bytes]) -> str:
    return f" after {len(parts)} members" if parts else ""
