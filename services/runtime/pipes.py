"""The reader of our output may go away first, as in `make status | grep -q ready`: an end, and no traceback."""

import os
import sys

PIPE_CLOSED = 141  # the exit status of a program that SIGPIPE ended, as shells say it


def reader_is_gone() -> int:
    """The exit status after a BrokenPipeError; what is written to stdout from now on is dropped."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())  # else Python complains again when it flushes at its end
    os.close(nowhere)
    return PIPE_CLOSED
