"""Is this the right answer? Pure, and apart from Locust, so that it can be tested."""

import json
from typing import TypeVar

T = TypeVar("T", int, str)


def mistake(body: bytes, expected: list[int]) -> str:
    """What is wrong with an answer to pictures of `expected` digits; empty when nothing is."""
    return _mistake(body, expected, key="digit", what="digits")


def line_mistake(body: bytes, expected: list[str]) -> str:
    """The same of lines and their numbers."""
    return _mistake(body, expected, key="number", what="numbers")


def _mistake(body: bytes, expected: list[T], *, key: str, what: str) -> str:
    try:
        results = json.loads(body)["results"]
        found = [result[key] for result in results]
        order = [result["index"] for result in results]
    except (ValueError, KeyError, TypeError) as exc:
        return f"not an answer: {exc!r}"
    if order != list(range(len(expected))):
        return f"{len(expected)} images, but results numbered {order[:5]}"
    wrong = sum(digit != right for digit, right in zip(found, expected, strict=True))
    if wrong and sorted(found) == sorted(expected):
        return f"mixed up: the right {what}, with the wrong images"
    return f"wrong {what}: {wrong} of {len(expected)}" if wrong else ""
