"""When the shadow may work: not while users wait, but for a batch now and then; after a failure, ever more rarely."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

LOOK_S = 0.05  # from one look at whether it is time to the next
GATHER_S = 0.5  # that a call waits for others, which share its batch
BUSY_S = 0.5  # from one batch to the next while requests are always in flight
RETRY_S, MOST_RETRY_S = 1.0, 10.0  # pause after a failure, doubled with each further one


@dataclass(slots=True, kw_only=True)
class Pace:
    """Says when; it neither waits nor works. `busy`: is any request in flight?"""

    busy: Callable[[], bool] = lambda: False
    gather_s: float = GATHER_S
    busy_s: float = BUSY_S
    clock: Callable[[], float] = time.monotonic
    _ended_s: float = field(default=float("-inf"), init=False)
    _retry_at_s: float = field(default=float("-inf"), init=False)
    _pause_s: float = field(default=0.0, init=False)

    @property
    def is_open(self) -> bool:
        """False for a while after a failure: nothing is taken, and the shadow's models are not asked."""
        return self.clock() >= self._retry_at_s

    def is_time(self, *, full: bool, since_s: float) -> bool:
        """Whether a batch may start; `full`: it cannot grow; `since_s`: when its first call came."""
        now_s = self.clock()
        if not (full or now_s - since_s >= self.gather_s):
            return False
        return not self.busy() or now_s - self._ended_s >= self.busy_s

    def succeeded(self) -> None:
        """A batch has been answered."""
        self._ended_s, self._pause_s = self.clock(), 0.0

    def failed(self) -> None:
        """A batch has not been answered."""
        self._ended_s = self.clock()
        self._pause_s = min(2 * self._pause_s or RETRY_S, MOST_RETRY_S)
        self._retry_at_s = self._ended_s + self._pause_s
