"""What a caller may ask of POST /v1/read: query parameters, or keys of a JSON body; the query wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from services.core.errors import InvalidInputError
from services.core.lines.number import MOST_DIGITS, Length, length_of
from services.gateway.messages.options import DENOISE, Check, checked, one_of, probability, some_of

INCLUDE = ("denoised", "input", "boxes", "alternatives")


@dataclass(frozen=True, slots=True, kw_only=True)
class LineOptions:
    """One request's choices, checked; `LINE_DEFAULTS` when it made none."""

    length: Length | None = None
    denoise: str = "always"
    include: frozenset[str] = frozenset()
    min_confidence: float | None = None  # None: the gateway's setting

    def updated(self, given: Mapping[str, object]) -> LineOptions:
        """These options with those of `given` in their place; keys that are no option are refused."""
        changes = checked(given, _CHECKS)
        return replace(self, **changes) if changes else self

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> LineOptions:
        """From plain data, as a decoder process sends it."""
        length, include = fields["length"], frozenset(fields["include"])
        return cls(**{**fields, "length": None if length is None else tuple(length), "include": include})


def _length(name: str, value: object) -> Length:
    length = length_of(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    if length is None:
        raise InvalidInputError(f"{name}={str(value)[:40]}: it is a number of digits from 1 to {MOST_DIGITS}, or 3-8")
    return length


_CHECKS: dict[str, Check] = {
    "length": _length,
    "denoise": one_of(DENOISE),
    "include": some_of(INCLUDE),
    "min_confidence": probability,
}
LINE_NAMES = tuple(_CHECKS)
LINE_DEFAULTS = LineOptions()
