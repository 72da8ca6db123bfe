"""Environment variables -> a frozen config dataclass, every mistake named in one message."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from services.core.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")

_BOOLS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def read_env(config_class: type[Config], environ: Mapping[str, str], *, prefix: str) -> Config:
    """Build `config_class` from the variables named `prefix...`; unknown or unreadable ones raise ConfigError."""
    types = typing.get_type_hints(config_class)
    fields = {prefix + field.name.upper(): field.name for field in dataclasses.fields(config_class)}
    values: dict[str, Any] = {}
    mistakes: list[str] = []
    for name, text in environ.items():
        if not name.startswith(prefix):
            continue
        if name not in fields:
            mistakes.append(f"{name} is not a setting")
            continue
        try:
            values[fields[name]] = _read(text, types[fields[name]])
        except ValueError as exc:
            mistakes.append(f"{name}={text!r}: {exc}")
    if not mistakes:
        try:
            return config_class(**values)  # __post_init__ may refuse a combination
        except ValueError as exc:
            mistakes.append(str(exc))
    message = "; ".join(mistakes)
    if any(name.startswith(prefix) and name not in fields for name in environ):
        message += f". Settings are: {', '.join(sorted(fields))}"
    raise ConfigError(message)


def _read(text: str, kind: Any) -> Any:
    if kind is bool:
        if text.lower() not in _BOOLS:
            raise ValueError("expected true or false")
        return _BOOLS[text.lower()]
    if typing.get_origin(kind) is typing.Literal:
        choices = typing.get_args(kind)
        if text not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return text
    if kind in (int, float, str):
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"expected {'a whole number' if kind is int else 'a number'}") from None
    raise TypeError(f"no reader for a setting of type {kind}")  # a mistake in the config class, not in the environment
