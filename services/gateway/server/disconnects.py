"""Notices clients that went away, so that nobody computes for them.

Being told costs a task for each request, so only requests that take long are watched; a quick one costs an entry in a
dictionary and its removal.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PATIENCE_S = 0.1


@dataclass(slots=True, eq=False)
class Entry:
    """One request under way."""

    protocol: Any  # granian's: `client_disconnect()` returns when the connection is closed
    when_gone: Callable[[], object]
    since_s: float
    watcher: asyncio.Task[None] | None = None


class Presence:
    """The requests under way in this worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._entries: set[Entry] = set()
        self._sweep_is_due = False

    def begin(self, protocol: Any, when_gone: Callable[[], object]) -> Entry:
        """From now on `when_gone` is called, once, if the client closes the connection."""
        entry = Entry(protocol, when_gone, time.monotonic())
        self._entries.add(entry)
        if not self._sweep_is_due:
            self._sweep_is_due = True
            self._loop.call_later(PATIENCE_S, self._sweep)
        return entry

    def end(self, entry: Entry) -> None:
        """The request is answered."""
        self._entries.discard(entry)
        if entry.watcher is not None:
            entry.watcher.cancel()

    def _sweep(self) -> None:
        oldest_s = time.monotonic() - PATIENCE_S
        for entry in self._entries:
            if entry.watcher is None and entry.since_s <= oldest_s:
                entry.watcher = self._loop.create_task(self._watch(entry))
        self._sweep_is_due = bool(self._entries)
        if self._sweep_is_due:
            self._loop.call_later(PATIENCE_S, self._sweep)

    async def _watch(self, entry: Entry) -> None:
        await entry.protocol.client_disconnect()
        if entry in self._entries:
            self._entries.discard(entry)
            entry.when_gone()
