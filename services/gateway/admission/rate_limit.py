"""A token bucket for each client: a steady rate, with a burst saved up while it was quiet.

Kept as one number, the moment when the bucket is full again ("generic cell rate algorithm"), in memory that all worker
processes share. There is no lock, which a worker that is frozen would hold for ever: two workers that count the same
client within the same microsecond may count one request for both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from mmap import mmap
from typing import NamedTuple, Self

from services.core.errors import RateLimitedError

_SETS, _WAYS = 4096, 4  # so many clients together are remembered; a client's bucket is one of its set
_KEY = 2**64 - 1
_ROUNDING_S = 1e-6


class Buckets(NamedTuple):
    """The buckets of all clients: whose each is, and when it is full. Processes that are forked later share them."""

    clients: memoryview[int]  # hash of the client's name, which forked processes agree on and no client can foresee
    full_at_s: memoryview[float]  # on the monotonic clock, which is the machine's

    @classmethod
    def new(cls) -> Self:
        """All full."""
        size = 8 * _SETS * _WAYS
        return cls(memoryview(mmap(-1, size)).cast("Q"), memoryview(mmap(-1, size)).cast("d"))


class RateLimiter:
    """`per_s` requests a second for each client, up to `burst` at once, over all workers that share `buckets`."""

    def __init__(
        self,
        per_s: float,
        burst: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        buckets: Buckets | None = None,
    ) -> None:
        self._per_s = per_s
        self._saved_s = (burst - 1) / per_s
        self._clock = clock
        self._buckets = buckets or Buckets.new()

    def take(self, client: str) -> None:
        """Count one request; RateLimitedError says when the next one may come."""
        now = self._clock()
        key = hash(client) & _KEY
        place = self._place(key)
        clients, full_at_s = self._buckets
        full_s = max(now, full_at_s[place]) if clients[place] == key else now
        wait_s = full_s - now - self._saved_s
        if wait_s > _ROUNDING_S:
            raise RateLimitedError(f"more than {self._per_s:g} requests a second", retry_after_s=wait_s)
        full_at_s[place] = full_s + 1 / self._per_s
        clients[place] = key

    def _place(self, key: int) -> int:
        """Where the client's bucket is; else the one of its set that is full, or will be soonest."""
        first = key % _SETS * _WAYS
        places = range(first, first + _WAYS)
        for place in places:
            if self._buckets.clients[place] == key:
                return place
        return min(places, key=self._buckets.full_at_s.__getitem__)
