"""Is this the right answer? Pure, and apart from Locust, so that it can be tested."""

import json


def mistake(body: bytes, expected: list[int]) -> str:
    """What is wrong with an answer to pictures of `expected` digits; empty when nothing is."""
    try:
        results = json.loads(body)["results"]
        found = [result["digit"] for result in results]
        order = [result["index"] for result in results]
    except (ValueError, KeyError, TypeError) as exc:
        return f"not an answer: {exc!r}"
    if order != list(range(len(expected))):
        return f"{len(expected)} images, but results numbered {order[:5]}"
    wrong = sum(digit != right for digit, right in zip(found, expected, strict=True))
    if wrong and sorted(found) == sorted(expected):
        return "mixed up: the right digits, with the wrong images"
    return f"wrong digits: {wrong} of {len(expected)}" if wrong else ""
