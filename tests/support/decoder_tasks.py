"""Tasks for decoder processes that do what a task must not do."""

import os
import resource
import signal
import time
from collections.abc import Mapping
from typing import Any

from services.core.errors import InvalidInputError, TooLargeError
from services.gateway.decoding.frames import Frame, Part
from services.gateway.decoding.process import Allowance


def _echo(parts: list[Part], arguments: Mapping[str, Any], allowance: Allowance) -> Frame:
    return Frame(
        {"arguments": arguments, "pid": os.getpid(), "remaining_s": allowance.until_s - time.monotonic()}, parts
    )


def _spin(parts: list[Part], arguments: Mapping[str, Any], allowance: Allowance) -> Frame:
    while True:
        time.sleep(0.001)


def _crash(parts: list[Part], arguments: Mapping[str, Any], allowance: Allowance) -> Frame:
    os.kill(os.getpid(), signal.SIGSEGV)
    return Frame({})


def _killed(parts: list[Part], arguments: Mapping[str, Any], allowance: Allowance) -> Frame:
    os.kill(os.getpid(), signal.SIGKILL)
    return Frame({})


def _alone(parts: list[Part], arguments: Mapping[str, Any], allowance: Allowance) -> Frame:
    allowance.alone()
    began = time.monotonic()
    time.sleep(arguments["seconds"])
    return Frame({"began": began, "ended": time.monotonic()})


def _hungry(parts: list[Part], arguments: Mapping[str, Any], allowance: Allowance) -> Frame:
    return Frame({"size": len(bytearray(arguments["bytes"]))})


def _mistaken(parts: list[Part], arguments: Mapping[str, Any], allowance: Allowance) -> Frame:
    raise KeyError("a mistake of ours")


def _noisy(parts: list[Part], arguments: Mapping[str, Any], allowance: Allowance) -> Frame:
    os.write(1, b"libpng error: on stdout\n")
    os.write(2, b"libpng error: on stderr\n")
    return Frame({})


def _invalid(parts: list[Part], arguments: Mapping[str, Any], allowance: Allowance) -> Frame:
    raise InvalidInputError("image 2 of 3: a damaged PNG")


def _too_large(parts: list[Part], arguments: Mapping[str, Any], allowance: Allowance) -> Frame:
    raise TooLargeError("3 images; at most 2")


def warm_up() -> None:
    """These need none."""


def _limit(parts: list[Part], arguments: Mapping[str, Any], allowance: Allowance) -> Frame:
    return Frame({"bytes": resource.getrlimit(resource.RLIMIT_AS)[0]})


TASKS = {
    "echo": _echo,
    "limit": _limit,
    "spin": _spin,
    "crash": _crash,
    "killed": _killed,
    "alone": _alone,
    "hungry": _hungry,
    "mistaken": _mistaken,
    "noisy": _noisy,
    "invalid": _invalid,
    "too-large": _too_large,
}
