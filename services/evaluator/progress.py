"""Progress on stderr: bars with the time left on a terminal, plain lines anywhere else. stdout is for results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars


class Task:
    """One bar."""

    def __init__(self, bars: Bars, identity: TaskID) -> None:
        self._bars, self._identity = bars, identity

    def advance(self, count: int) -> None:
        """So much more is done; may be called from any thread."""
        self._bars.advance(self._identity, count)


class Progress:
    """Where a run reports how far it is."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)

    @contextmanager
    def task(self, name: str, total: int, unit: str) -> Iterator[Task]:
        """A bar for as long as the block lasts."""
        with Bars(
            TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=self._console, transient=True,
        ) as bars:  # fmt: skip
            yield Task(bars, bars.add_task(name, total=total))

    def say(self, text: str) -> None:
        """One line that stays."""
        self._console.print(text, soft_wrap=True)
