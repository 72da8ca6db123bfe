"""What a caller may ask for beside the picture itself: query parameters, or keys of a JSON body; the query wins."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from services.core.errors import InvalidInputError
from services.core.preprocessing import MODES

Check = Callable[[str, object], Any]  # name and value of an option -> what it means; InvalidInputError

DENOISE = ("always", "never", "auto")
INCLUDE = ("probabilities", "denoised", "input")
DIGITS = 10
NAMES = ("preprocess", "denoise", "include", "top_k", "min_confidence")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One request's choices, checked; `DEFAULTS` when it made none."""

    preprocess: str = "auto"
    denoise: str = "always"
    include: frozenset[str] = frozenset()
    top_k: int = 0
    min_confidence: float | None = None  # None: the gateway's setting

    @staticmethod
    def from_query(args: Mapping[str, str]) -> Options:
        """From query parameters; InvalidInputError names the parameter, the value and what is allowed."""
        return DEFAULTS.updated(args) if args else DEFAULTS

    def updated(self, given: Mapping[str, object]) -> Options:
        """These options with those of `given` in their place; keys that are no option are refused."""
        changes = checked(given, _CHECKS)
        return replace(self, **changes) if changes else self


def told(options: Options) -> dict[str, object]:
    """As JSON has it, for another process."""
    return asdict(options) | {"include": sorted(options.include)}


def options_of(value: Mapping[str, Any]) -> Options:
    """What `told` has told."""
    return Options(**{**value, "include": frozenset(value["include"])})


def checked(given: Mapping[str, object], checks: Mapping[str, Check]) -> dict[str, Any]:
    """What is asked for, each value by its check; names that no check has are refused."""
    for name in given:
        if name not in checks:
            raise InvalidInputError(f"no option is called {_shown(name)}; there are {', '.join(checks)}")
    return {name: checks[name](name, value) for name, value in given.items()}


def one_of(allowed: tuple[str, ...]) -> Check:
    """One word of several."""

    def check(name: str, value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise InvalidInputError(f"{name}={_shown(value)}: it is one of {', '.join(allowed)}")
        return value

    return check


def some_of(allowed: tuple[str, ...]) -> Check:
    """Words of several, separated by commas or as a list."""

    def check(name: str, value: object) -> frozenset[str]:
        wanted = [part.strip() for part in value.split(",") if part] if isinstance(value, str) else value
        if not isinstance(wanted, list) or not all(isinstance(part, str) and part in allowed for part in wanted):
            raise InvalidInputError(f"{name}={_shown(value)}: it is a list of {', '.join(allowed)}")
        return frozenset(wanted)

    return check


def probability(name: str, value: object) -> float:
    """A number from 0 to 1."""
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not 0 <= number <= 1:
        raise InvalidInputError(f"{name}={_shown(value)}: it is a number from 0 to 1")
    return number


def _top_k(name: str, value: object) -> int:
    number = (
        int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 4 else value
    )
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= DIGITS:
        raise InvalidInputError(f"{name}={_shown(value)}: it is a number from 0 to {DIGITS}")
    return number


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


_CHECKS: dict[str, Check] = {
    "preprocess": one_of(MODES),
    "denoise": one_of(DENOISE),
    "include": some_of(INCLUDE),
    "top_k": _top_k,
    "min_confidence": probability,
}
DEFAULTS = Options()
