"""Text and pictures sent from memory: as they are or gzipped, each with an ETag of its own, 304 where it is known.

Compressed once, when the gateway starts: at the highest level, and never again for a request.
"""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from flask import Response, request

BY_ADDRESS = {"Vary": "X-Forwarded-Proto"}  # for what names page_address()
_WORTH = 0.9  # of the size: what gzip hardly shrinks (pictures) is sent as it is


@dataclass(frozen=True, slots=True)
class Stored:
    """One file in memory."""

    mimetype: str
    plain: bytes
    gzipped: bytes | None

    @classmethod
    def of(cls, content: bytes, mimetype: str) -> Self:
        """Keep `content`, and its gzipped form where that is worth it."""
        gzipped = gzip.compress(content, 9, mtime=0)
        return cls(mimetype, content, gzipped if len(gzipped) < _WORTH * len(content) else None)

    def response(self, cache_control: str, headers: Mapping[str, str]) -> Response:
        """The answer to the request at hand. A "Vary" among the headers is kept."""
        zipped = self.gzipped is not None and request.accept_encodings["gzip"] > 0
        response = Response(self.gzipped if zipped else self.plain, mimetype=self.mimetype)
        response.headers.update(headers)
        response.headers["Cache-Control"] = cache_control
        if self.gzipped is not None:
            response.vary.add("Accept-Encoding")
        if zipped:
            response.headers["Content-Encoding"] = "gzip"
        response.add_etag()
        response.make_conditional(request)
        return response


def page_address(public_url: str) -> str:
    """Where visitors find the page, with a slash at the end: as configured, else as the request at hand says.

    What a proxy says of TLS needs no trust here: the address is only shown.
    """
    scheme = "https" if request.headers.get("X-Forwarded-Proto") == "https" else request.scheme
    return (public_url or f"{scheme}://{request.host}").rstrip("/") + "/"
