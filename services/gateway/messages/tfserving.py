"""TensorFlow Serving's REST form of a predict request: JSON value -> images."""

from __future__ import annotations

from typing import Any

import numpy as np

from services.core import pixels
from services.core.budget import Budget
from services.core.errors import InvalidInputError, TooLargeError
from services.gateway.limits import Limits
from services.gateway.messages.bodies import images_of, parse_images

SIGNATURE = "serving_default"

_KEYS = {"signature_name", "instances", "inputs"}
_INPUT = "images"


def read_predict_body(body: bytes, limits: Limits, budget: Budget | None = None) -> tuple[np.ndarray, bool]:
    """`read_predict_request` of a JSON text, a large one a part at a time."""
    for key in ("instances", "inputs"):
        value, cut = parse_images(body, key, max_depth=limits.max_json_depth)
        if cut is None:
            continue
        if cut.count > limits.max_images:
            raise TooLargeError(f"{cut.count} images; at most {limits.max_images} in one request")
        by_row = _check(value)
        return images_of(cut, max_depth=limits.max_json_depth, budget=budget, scale=1)[..., np.newaxis], by_row
    return read_predict_request(value, max_images=limits.max_images)


def read_predict_request(body: Any, *, max_images: int) -> tuple[np.ndarray, bool]:
    """The images (n, 28, 28, 1) of a predict request, and whether it came by row ("instances") or column ("inputs")."""
    by_row = _check(body)
    values = body["instances"] if by_row else _named(body["inputs"])
    if not isinstance(values, list) or not values:
        raise InvalidInputError(f'"{"instances" if by_row else "inputs"}" is a list of at least one picture')
    if len(values) > max_images:
        raise TooLargeError(f"{len(values)} images; at most {max_images} in one request")
    pictures = pixels.from_lists([_named(value) for value in values] if by_row else values, scale=1)
    return pictures[..., np.newaxis], by_row


def _check(body: object) -> bool:
    """The keys of a request; whether its images come by row."""
    if not isinstance(body, dict):
        raise InvalidInputError("a predict request is a JSON object")
    if unknown := body.keys() - _KEYS:
        raise InvalidInputError(f"no key is called {min(unknown)!r:.60}; there are {', '.join(sorted(_KEYS))}")
    if body.get("signature_name", SIGNATURE) not in (SIGNATURE, ""):
        raise InvalidInputError(f'Serving signature name: "{body["signature_name"]!s:.60}" not found in signature def')
    if ("instances" in body) == ("inputs" in body):
        raise InvalidInputError('a predict request has either "instances" or "inputs"')
    return "instances" in body


def _named(value: object) -> object:
    """The value itself, or the one under the input's name."""
    if not isinstance(value, dict):
        return value
    if value.keys() != {_INPUT}:
        raise InvalidInputError(f'an object holds the one input, "{_INPUT}", and nothing else')
    return value[_INPUT]
