"""The decoders' own process: `python -m services.gateway.decoding.process MODULE MEMORY_BYTES`, or a fork.

It imports what decoding needs once, then forks a decoder whenever it is asked to: a decoder that was killed is replaced
in milliseconds, and all share the memory of the libraries. It has one thread, so forking is safe. MODULE holds `TASKS`,
the functions that a decoder runs, by name, and `warm_up`, which is called before the first fork. The gateway
asks on a socket, which is standard input unless it was forked:

    b"F" with a descriptor   fork a decoder that serves that socket; the answer is its process id
    b"R" and a process id    end that decoder; the answer is its exit status, as waitpid gives it
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import importlib
import os
import resource
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from services.core.errors import DeadlineError, InvalidInputError, TooLargeError, UnsupportedMediaError
from services.gateway.decoding import frames
from services.gateway.decoding.frames import Frame, Part


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a task may take: time, and memory to itself."""

    until_s: float  # on the monotonic clock
    alone: Callable[[], object] = lambda: None  # waits until no other decoder does anything large, for the whole task


Task = Callable[[list[Part], Mapping[str, Any], Allowance], Frame]

NUMBER = struct.Struct("<q")
ERRORS: dict[str, type[Exception]] = {
    kind.__name__: kind for kind in (InvalidInputError, UnsupportedMediaError, TooLargeError, DeadlineError)
}
UNEXPECTED = "unexpected"
NAME = "decoders"  # in top and ps
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15  # linux/prctl.h
_MOST_BYTES = 1 << 31  # the gateway bounds what it sends


def main(argv: list[str]) -> int:
    """As `serve`, on standard input."""
    module, memory_bytes = argv
    serve(socket.socket(fileno=os.dup(0)), module, int(memory_bytes))
    return 0


def serve_forked(control: socket.socket, module: str, memory_bytes: int) -> NoReturn:
    """As `serve`, in a process that was just forked: of all it has open it keeps `control` alone."""
    status = 1
    try:
        for number in [int(path.name) for path in Path("/dev/fd").iterdir()]:
            if number > 2 and number != control.fileno():
                with contextlib.suppress(OSError):  # the one that listed them is closed already
                    os.close(number)
        serve(control, module, memory_bytes)
        status = 0
    finally:  # also after an error: the code that forked goes on in the other process
        os._exit(status)


def serve(control: socket.socket, module: str, memory_bytes: int) -> None:
    """Import the tasks, warm up, say so, fork decoders until the gateway closes its end."""
    for number in (signal.SIGINT, signal.SIGTERM):  # may reach the whole group; the gateway ends us by its socket
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, NAME.encode())
    worked = importlib.import_module(module)
    worked.warm_up()
    tasks: Mapping[str, Task] = worked.TASKS
    turn = os.memfd_create("turn")  # a lock on it belongs to a process, and ends with it
    gc.freeze()
    _be_quiet()
    control.sendall(NUMBER.pack(os.getpid()))
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        if message == b"F":
            pid = os.fork()
            if pid == 0:
                control.close()
                _decoder(socket.socket(fileno=descriptors[0]), tasks, memory_bytes, turn)
            os.close(descriptors[0])
            control.sendall(NUMBER.pack(pid))
        else:
            (pid,) = NUMBER.unpack(_received(control, NUMBER.size))
            os.kill(pid, signal.SIGKILL)  # a zombie until waitpid: the number cannot be another process's
            control.sendall(NUMBER.pack(os.waitpid(pid, 0)[1]))


def _be_quiet() -> None:
    """What libraries in C write about damaged files is no line of our log; what our own code has to say it answers."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)


def _decoder(connection: socket.socket, tasks: Mapping[str, Task], memory_bytes: int, turn: int) -> None:
    """Run tasks one after another until the connection is closed; never returns."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    sys.excepthook = partial(_last_words, connection)
    _, most = resource.getrlimit(resource.RLIMIT_AS)  # as `ulimit -v` said; unlimited is -1
    limit = min(_address_space() + memory_bytes, most if most >= 0 else sys.maxsize)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (asked := receive(connection)) is not None:
        reply = answer(asked, tasks, partial(fcntl.lockf, turn, fcntl.LOCK_EX))
        del asked
        fcntl.lockf(turn, fcntl.LOCK_UN)
        send(connection, reply)
        del reply
    os._exit(0)


def _last_words(
    connection: socket.socket, kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """A mistake of ours ends the decoder; the gateway raises it again, with the traceback."""
    send(connection, _failure(UNEXPECTED, "".join(traceback.format_exception(kind, error, trace))))


def answer(asked: Frame, tasks: Mapping[str, Task], alone: Callable[[], object]) -> Frame:
    """Run the task that is asked for; what a caller may be told becomes a frame too."""
    head = asked.head
    try:
        allowance = Allowance(time.monotonic() + head["remaining_s"], alone)
        return tasks[head["task"]](list(asked.parts), head["arguments"], allowance)
    except MemoryError:
        return _failure(TooLargeError.__name__, "reading it takes more memory than one request may use")
    except tuple(ERRORS.values()) as exc:
        return _failure(type(exc).__name__, str(exc))


def _failure(kind: str, message: str) -> Frame:
    return Frame({"error": kind, "message": message[: frames.MAX_HEAD_BYTES // 8]})


def receive(connection: socket.socket) -> Frame | None:
    """The next frame; None when the other end is closed."""
    prefix = _received(connection, frames.PREFIX.size)
    if not prefix:
        return None
    head_bytes, part_bytes = frames.sizes(prefix, most_bytes=_MOST_BYTES)
    head = _received(connection, head_bytes)
    return frames.read(head, _received(connection, part_bytes))


def send(connection: socket.socket, frame: Frame) -> None:
    """Write a frame."""
    for buffer in frames.written(frame):
        connection.sendall(buffer)


def _received(connection: socket.socket, size: int) -> bytearray:
    """`size` bytes, or none where the connection ends before the first."""
    data = bytearray(size)
    view, at = memoryview(data), 0
    while at < size:
        count = connection.recv_into(view[at:])
        if not count:
            if at:
                raise ConnectionError("the connection ended inside a frame")
            return bytearray()
        at += count
    return data


def _address_space() -> int:
    """Bytes that the process has mapped already; libraries, for the most part."""
    statm = Path("/proc/self/statm")
    if not statm.exists():  # not Linux: the limit is then only what tasks may add
        return 1 << 30
    return int(statm.read_text().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
