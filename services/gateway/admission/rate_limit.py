"""A token bucket for each client: a steady rate, with a burst saved up while it was quiet."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from services.core.errors import RateLimitedError

_CLIENTS_REMEMBERED = 10_000


class RateLimiter:
    """`per_s` requests a second for each client, up to `burst` at once. Each worker process keeps its own count."""

    def __init__(self, per_s: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client -> (tokens, when counted)
        self._lock = threading.Lock()  # asked from the event loop and from Flask's threads

    def take(self, client: str) -> None:
        """Count one request; RateLimitedError says when the next one may come."""
        now = self._clock()
        with self._lock:
            tokens, counted_at = self._buckets.pop(client, (float(self._burst), now))
            tokens = min(float(self._burst), tokens + (now - counted_at) * self._per_s)
            allowed = tokens >= 1.0
            self._buckets[client] = (tokens - 1.0 if allowed else tokens, now)
            if len(self._buckets) > _CLIENTS_REMEMBERED:  # the client away longest has a full bucket, or nearly
                self._buckets.popitem(last=False)
        if not allowed:
            wait_s = (1.0 - tokens) / self._per_s
            raise RateLimitedError(f"more than {self._per_s:g} requests a second", retry_after_s=wait_s)
