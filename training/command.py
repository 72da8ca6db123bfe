"""What every command of training shares: what its arguments may be, and failures as one line and an exit status."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from training.errors import TrainingError

INTERRUPTED = 130  # exit status after Ctrl-C, as of a shell
MAX_SEED = 2**32 - 1  # NumPy's older generator takes no more, and Keras seeds that one too


def ended(work: Callable[[], int]) -> int:
    """Do the work; answers its exit status."""
    try:
        return work()
    except TrainingError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_status
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED


def count(text: str) -> int:
    """An argument that is a whole number above 0."""
    return _between(text, 1, None, "a whole number, at least 1")


def seed(text: str) -> int:
    """An argument that every generator of random numbers takes."""
    return _between(text, 0, MAX_SEED, f"a whole number from 0 to {MAX_SEED}")


def _between(text: str, least: int, most: int | None, expected: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least or (most is not None and number > most):
        raise argparse.ArgumentTypeError(f"expected {expected}, not {text}")
    return number
