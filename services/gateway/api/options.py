"""What a caller may ask for beside the picture itself: query parameters, or keys of a JSON body; the query wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from services.core.errors import InvalidInputError
from services.core.preprocessing import MODES

DENOISE = ("always", "never", "auto")
INCLUDE = ("probabilities", "denoised", "input")
DIGITS = 10
NAMES = ("preprocess", "denoise", "include", "top_k")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One request's choices, checked; `DEFAULTS` when it made none."""

    preprocess: str = "auto"
    denoise: str = "always"
    include: frozenset[str] = frozenset()
    top_k: int = 0

    @staticmethod
    def from_query(args: Mapping[str, str]) -> Options:
        """From query parameters; InvalidInputError names the parameter, the value and what is allowed."""
        return DEFAULTS.updated(args) if args else DEFAULTS

    def updated(self, given: Mapping[str, object]) -> Options:
        """These options with those of `given` in their place; keys that are no option are refused."""
        changes = {name: _CHECKS[name](name, value) for name, value in given.items() if _known(name)}
        return replace(self, **changes) if changes else self


def _known(name: str) -> bool:
    if name not in _CHECKS:
        raise InvalidInputError(f"no option is called {_shown(name)}; there are {', '.join(NAMES)}")
    return True


def _one_of(allowed: tuple[str, ...]) -> object:
    def check(name: str, value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise InvalidInputError(f"{name}={_shown(value)}: it is one of {', '.join(allowed)}")
        return value

    return check


def _include(name: str, value: object) -> frozenset[str]:
    wanted = [part for part in value.split(",") if part] if isinstance(value, str) else value
    if not isinstance(wanted, list) or not all(isinstance(part, str) and part in INCLUDE for part in wanted):
        raise InvalidInputError(f"{name}={_shown(value)}: it is a list of {', '.join(INCLUDE)}")
    return frozenset(wanted)


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


_CHECKS = {"preprocess": _one_of(MODES), "denoise": _one_of(DENOISE), "include": _include, "top_k": _top_k}
DEFAULTS = Options()
