"""A long list of lists of numbers in a JSON text, found without parsing it, so that it can be parsed a part at a time.

A Python number takes 32 bytes, eight times its text: ten thousand pictures at once would take half a gigabyte.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.core.errors import InvalidInputError

_MOST_BEFORE = 2000  # bytes, the list's key included: options


@dataclass(frozen=True, slots=True)
class Cut:
    """A JSON text apart from one long list in it."""

    rest: bytes  # the text with an empty list in place of the long one
    texts: list[bytes]  # the long list's elements as lists of `size` and a last one of fewer: each yet to be parsed
    count: int  # of lists in the long list
    size: int

    def lists(self, parse: Callable[[bytes], object]) -> Iterator[list[Any]]:
        """The elements, `size` at a time."""
        for index, text in enumerate(self.texts):
            value = parse(text)
            if not isinstance(value, list) or len(value) != min(self.size, self.count - index * self.size):
                raise InvalidInputError("a list of images with something else between them")
            yield value


def cut(text: bytes, key: str, *, size: int) -> Cut | None:
    """None where the value of `key` is not a list of lists without strings and objects: it is to be parsed whole."""
    match = re.compile(rb'\A\s*\{[^\[\]{}\\]*?"%b"\s*:\s*\[' % key.encode()).match(text[:_MOST_BEFORE])
    if match is None:
        return None
    start = match.end() - 1
    quote = text.find(b'"', start)
    raw = np.frombuffer(text, np.uint8, (len(text) if quote < 0 else quote) - start, start)
    places = np.flatnonzero((raw == ord("[")) | (raw == ord("]")))
    depths = np.cumsum(np.where(raw[places] == ord("["), 1, -1))
    closed = np.flatnonzero(depths == 0)
    if not len(closed):
        return None
    last = int(closed[0])
    ends = places[:last][(depths[:last] == 1) & (raw[places[:last]] == ord("]"))] + 1  # of the elements
    stop = start + int(places[last])
    if not len(ends) or text.find(b"{", start, stop) >= 0 or text[start + int(ends[-1]) : stop].strip():
        return None
    return Cut(text[:start] + b"[]" + text[stop + 1 :], list(_texts(text, start, ends, size)), len(ends), size)


def _texts(text: bytes, start: int, ends: np.ndarray, size: int) -> Iterator[bytes]:
    at = start + 1
    for end in [*ends[size - 1 : -1 : size].tolist(), int(ends[-1])]:
        part = text[at : start + end]
        if at > start + 1:  # a comma comes first
            part = part.lstrip()
            part = part[1:] if part.startswith(b",") else b"no comma"
        yield b"[" + part + b"]"
        at = start + end
