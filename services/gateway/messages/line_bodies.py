"""Request bodies of every kind -> the line of digits that each picture shows, and what is asked for them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from services.core.budget import Budget
from services.core.errors import TooLargeError
from services.core.lines.strip import Strip, find
from services.core.preprocessing import to_grey
from services.gateway.limits import Limits
from services.gateway.messages.bodies import Decode, Encoded, decoding, read_body, read_each
from services.gateway.messages.line_options import LINE_DEFAULTS, LINE_NAMES, LineOptions

WHITE = 255


def read_lines(
    body: bytes,
    content_type: str | None,
    *,
    query: Mapping[str, str],
    limits: Limits,
    budget: Budget | None = None,
    decode: Decode | None = None,
) -> tuple[list[Strip | None], LineOptions]:
    """The strip of each picture in `body`, None where it shows no line; arguments as of `read_request`."""
    given, pictures = read_body(body, content_type, limits, names=LINE_NAMES)
    options = LINE_DEFAULTS.updated(given).updated(query)
    return strips_of(pictures, limits, budget=budget, decode=decode), options


def strips_of(
    pictures: np.ndarray | Encoded, limits: Limits, *, budget: Budget | None = None, decode: Decode | None = None
) -> list[Strip | None]:
    """The strip of each picture; arguments as of `read_request`."""
    budget, decode = decoding(limits, budget, decode)
    count = len(pictures) if isinstance(pictures, np.ndarray) else len(pictures.items)
    if count > limits.max_lines:
        raise TooLargeError(f"{count} pictures; at most {limits.max_lines} lines in one request")
    if isinstance(pictures, np.ndarray):
        budget.check_time()
        return [find(picture if picture.dtype == np.uint8 else _grey(picture)) for picture in pictures]

    def strip(item: object) -> Strip | None:
        budget.check_time()
        return find(to_grey(decode(pictures.read(item))))

    return read_each(pictures.items, strip)


def _grey(picture: np.ndarray) -> np.ndarray:
    """Fractions from 0 to 1 as uint8."""
    grey: np.ndarray = np.rint(picture * WHITE).astype(np.uint8)
    return grey
