"""Settings: every mistake is named, none becomes a silent default."""

from dataclasses import dataclass
from typing import Literal

import pytest

from services.core.errors import ConfigError
from services.runtime.env import read_env


@dataclass(frozen=True, kw_only=True)
class ToyConfig:
    port: int = 8080
    timeout_s: float = 2.0
    debug: bool = False
    mode: Literal["slow", "fast"] = "fast"

    def __post_init__(self) -> None:
        if self.port < 0:
            raise ValueError("TOY_PORT must not be negative")


def test_defaults_hold_where_nothing_is_set():
    assert read_env(ToyConfig, {"PATH": "/bin"}, prefix="TOY_") == ToyConfig()


def test_values_are_read_by_their_type():
    environ = {"TOY_PORT": "9000", "TOY_TIMEOUT_S": "0.5", "TOY_DEBUG": "yes", "TOY_MODE": "slow"}

    assert read_env(ToyConfig, environ, prefix="TOY_") == ToyConfig(port=9000, timeout_s=0.5, debug=True, mode="slow")


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("TOY_PROT", "1", "TOY_PROT is not a setting"),
        ("TOY_PORT", "eighty", "TOY_PORT='eighty': expected a whole number"),
        ("TOY_TIMEOUT_S", "2s", "TOY_TIMEOUT_S='2s': expected a number"),
        ("TOY_DEBUG", "maybe", "TOY_DEBUG='maybe': expected true or false"),
        ("TOY_MODE", "medium", "TOY_MODE='medium': expected one of slow, fast"),
        ("TOY_PORT", "-1", "TOY_PORT must not be negative"),
    ],
)
def test_a_mistake_is_named(name, text, complaint):
    with pytest.raises(ConfigError, match=complaint) as caught:
        read_env(ToyConfig, {name: text}, prefix="TOY_")

    assert ("Settings are" in str(caught.value)) == (name == "TOY_PROT")  # a known name needs no list of all


def test_all_mistakes_come_in_one_message():
    with pytest.raises(ConfigError) as caught:
        read_env(ToyConfig, {"TOY_PROT": "1", "TOY_DEBUG": "maybe"}, prefix="TOY_")

    assert "TOY_PROT" in str(caught.value)
    assert str(caught.value).endswith("Settings are: TOY_DEBUG, TOY_MODE, TOY_PORT, TOY_TIMEOUT_S")
    assert "TOY_DEBUG" in str(caught.value)
