"""One total budget for each request; what is left of it goes to the next stage."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Self, TypeVar

from services.core.errors import DeadlineError, InvalidInputError

T = TypeVar("T")

HEADER = "Request-Timeout-Ms"


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock. `clock` is an argument so that tests need not wait."""

    at_s: float
    budget_s: float
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, budget_s: float, *, started_s: float | None = None) -> Self:
        """The deadline of a request that began at `started_s`, or begins now."""
        return cls((time.monotonic() if started_s is None else started_s) + budget_s, budget_s)

    @classmethod
    def from_header(cls, value: str, *, most_ms: int, started_s: float | None = None) -> Self:
        """From `Request-Timeout-Ms`; more than the cap means the cap."""
        if not (value.isascii() and value.isdecimal() and len(value) <= 9 and int(value) > 0):
            raise InvalidInputError(f"{HEADER}: {value[:40]!r} is not a whole number of milliseconds above 0")
        return cls.after(min(int(value), most_ms) / 1e3, started_s=started_s)

    def remaining_s(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.at_s - self.clock())

    def share(self, part: float) -> "Deadline":
        """A nearer deadline, `part` of what is left, for a stage that something else must follow."""
        return replace(self, at_s=self.clock() + part * self.remaining_s())

    async def wait_for(self, answer: Awaitable[T]) -> T:
        """What `answer` gives; when it takes too long it is cancelled, and DeadlineError says so."""
        try:
            async with asyncio.timeout_at(self.at_s):
                return await answer
        except TimeoutError:
            raise self.error("before there was an answer") from None

    def check(self, stage: str) -> None:
        """Raise DeadlineError when nothing is left for `stage`."""
        if self.clock() >= self.at_s:
            raise self.error(stage)

    def error(self, stage: str) -> DeadlineError:
        """What the caller is told when the time ran out during `stage`."""
        return DeadlineError(f"the request's {1e3 * self.budget_s:.0f} ms were used up ({stage})")
