"""A chain that tests ask for its promises, wherever it runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.make_up import MakeUp


@dataclass(frozen=True)
class Home:
    """All that a test of a promise may know of it."""

    url: str


@contextmanager
def local_home(folder: Path) -> Iterator[Home]:
    """The chain as `make up` starts it without a Docker engine."""
    stack = MakeUp.on_free_ports(folder / "var")
    started = stack.run("up", "MODE=local")
    assert started.returncode == 0, started.stdout + started.stderr
    try:
        yield Home(stack.url)
    finally:
        ended = stack.run("down")
    assert ended.returncode == 0, ended.stdout + ended.stderr
