"""What the pictures of one request may cost together: pixels, bytes once decoded, time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from services.core.errors import DeadlineError, TooLargeError

LARGE_BYTES = 16 * 1024 * 1024  # what takes more than this is done by one process at a time


@dataclass(slots=True)
class Budget:
    """What is left of it; every picture takes its share before it is decoded."""

    pixels: float = math.inf
    decoded_bytes: float = math.inf
    until_s: float = math.inf  # on the monotonic clock
    clock: Callable[[], float] = time.monotonic
    alone: Callable[[], object] = lambda: None  # waits until no other process does anything large

    def take(self, pixels: int, decoded_bytes: int) -> None:
        """TooLargeError when so much is not left, DeadlineError when the time is up."""
        self.check_time()
        self.pixels -= pixels
        self.decoded_bytes -= decoded_bytes
        if self.pixels < 0 or self.decoded_bytes < 0:
            raise TooLargeError("the pictures of this request hold more pixels together than one request may")
        if decoded_bytes > LARGE_BYTES:
            self.alone()

    def check_time(self) -> None:
        """DeadlineError when the time is up."""
        if self.clock() >= self.until_s:
            raise DeadlineError("the request's time was used up (decoding)")
