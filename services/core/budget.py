"""What the pictures of one request may cost together: pixels, bytes once decoded, time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from services.core.errors import DeadlineError, TooLargeError


@dataclass(slots=True)
class Budget:
    """What is left of it; every picture takes its share before it is decoded."""

    pixels: float = math.inf
    decoded_bytes: float = math.inf
    until_s: float = math.inf  # on the monotonic clock
    clock: Callable[[], float] = time.monotonic

    def take(self, pixels: int, decoded_bytes: int) -> None:
        """TooLargeError when so much is not left, DeadlineError when the time is up."""
        self.check_time()
        self.pixels -= pixels
        self.decoded_bytes -= decoded_bytes
        if self.pixels < 0 or self.decoded_bytes < 0:
            raise TooLargeError("the pictures of this request hold more pixels together than one request may")

    def check_time(self) -> None:
        """DeadlineError when the time is up."""
        if self.clock() >= self.until_s:
            raise DeadlineError("the request's time was used up (decoding)")
