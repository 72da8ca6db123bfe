"""A few decoder processes, used from the event loop: a task still running at its deadline is killed with its process.

A process that was killed or crashed costs the one request it worked for; another takes its place. Processes are started
with the first task, or by `start`; where `fork` was called before, while there was one thread, they share its memory.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from services.core.errors import DeadlineError, InvalidInputError, OverloadedError
from services.gateway.decoding import frames
from services.gateway.decoding.frames import Frame, Part
from services.gateway.decoding.process import ERRORS, NUMBER, UNEXPECTED, serve_forked
from services.runtime.threads import ONE_THREAD

PROCESSES = 2
MEMORY_BYTES = 256 * 1024 * 1024  # that one process may add to what its libraries take
WAITING = 64  # tasks that may wait for a process; beyond them the answer is 503
LARGE_BYTES = 128 * 1024  # tasks with more than this leave one process to the others
RETRY_S = 0.2
MOST_ANSWER_BYTES = 128 * 1024 * 1024

log = logging.getLogger(__name__)

_ROOT = Path(__file__).parents[3]


class DecoderFailedError(RuntimeError):
    """A mistake of ours inside a decoder; the message is its traceback."""


class Decoders:
    """`run` a task by its name; lives on one event loop."""

    def __init__(
        self,
        tasks: str,
        *,
        processes: int = PROCESSES,
        memory_bytes: int = MEMORY_BYTES,
        waiting: int = WAITING,
    ) -> None:
        """`tasks` names the module whose TASKS the processes run, after its warm_up."""
        self._tasks = tasks
        self._memory_bytes = memory_bytes
        self._processes = processes
        self._most_waiting = waiting
        self._waiting = 0
        self._idle: asyncio.Queue[_Decoder] = asyncio.Queue()
        self._all: set[_Decoder] = set()
        self._large = asyncio.Semaphore(max(1, processes - 1))
        self._parent: _Parent | None = None
        self._starting: asyncio.Task[None] | None = None
        self._replacing: set[asyncio.Task[None]] = set()
        self._parent_lock = asyncio.Lock()

    def fork(self) -> None:
        """Fork the first parent of the processes from this one, which has one thread: they share what it imported."""
        self._parent = _Parent.forked(self._tasks, self._memory_bytes)

    async def start(self) -> None:
        """Start the processes, unless they are started already."""
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start())
        await asyncio.shield(self._starting)

    async def run(
        self, task: str, parts: Sequence[Part], arguments: Mapping[str, Any] | None = None, *, until_s: float
    ) -> Frame:
        """What the task answers, by `until_s` on the monotonic clock; else its process is killed: DeadlineError.

        Errors a task raises are raised here. A crash is InvalidInputError, too many tasks are OverloadedError.
        """
        if self._waiting >= self._most_waiting + self._processes:
            raise OverloadedError(f"{self._waiting} bodies are being decoded or wait for it", retry_after_s=1.0)
        self._waiting += 1
        try:
            async with asyncio.timeout_at(until_s):
                await self.start()
                if sum(map(_size, parts)) <= LARGE_BYTES:
                    return await self._run(task, parts, arguments or {}, until_s)
                async with self._large:
                    return await self._run(task, parts, arguments or {}, until_s)
        except TimeoutError:
            raise DeadlineError("the request's time was used up (decoding)") from None
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """End all processes."""
        tasks = [*self._replacing, *([self._starting] if self._starting else ())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._parent is not None:
            await self._parent.close()
        for decoder in self._all:
            decoder.connection.close()

    async def _run(self, task: str, parts: Sequence[Part], arguments: Mapping[str, Any], until_s: float) -> Frame:
        while True:
            decoder = await self._idle.get()
            asked = Frame(
                {"task": task, "arguments": arguments, "remaining_s": max(0.0, until_s - time.monotonic())}, parts
            )
            answer = None
            try:
                answer = await decoder.ask(asked)
            except ConnectionError:
                status = await decoder.end()
                if status is None:  # all decoders ended with their parent: not this task's doing
                    continue
                raise _crash(status) from None
            except ValueError as exc:
                raise InvalidInputError("a body that made its decoder answer nonsense") from exc
            finally:
                if answer is None or answer.head.get("error") == UNEXPECTED:
                    self._replace(decoder)
                else:
                    self._idle.put_nowait(decoder)
            if "error" in answer.head:
                raise _error(answer.head)
            return answer

    def _replace(self, decoder: _Decoder) -> None:
        replacing = asyncio.ensure_future(self._replaced(decoder))
        self._replacing.add(replacing)
        replacing.add_done_callback(self._replacing.discard)

    async def _replaced(self, decoder: _Decoder) -> None:
        self._all.discard(decoder)
        decoder.connection.close()
        await decoder.end()
        await self._add()

    async def _start(self) -> None:
        await asyncio.gather(*(self._add() for _ in range(self._processes)))

    async def _add(self) -> None:
        """One more decoder; a parent that died is replaced first."""
        while True:
            try:
                decoder = await (await self._living_parent()).fork()
            except OSError as error:  # the parent is gone, or descriptors, processes or memory are short
                log.warning("a decoder cannot be started", extra={"reason": str(error)})
                await asyncio.sleep(RETRY_S)
            else:
                self._all.add(decoder)
                self._idle.put_nowait(decoder)
                return

    async def _living_parent(self) -> _Parent:
        async with self._parent_lock:
            if self._parent is not None and not self._parent.alive():
                await self._parent.close()
                self._parent = None
            if self._parent is None:
                self._parent = _Parent.started(self._tasks, self._memory_bytes)
            await self._parent.ready()
            return self._parent


class _Process(Protocol):
    """A child of this process, as subprocess has it."""

    pid: int

    def poll(self) -> int | None: ...

    def kill(self) -> None: ...

    def wait(self) -> int: ...


class _Forked:
    """A child that `os.fork` made."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def poll(self) -> int | None:
        return self._waited(os.WNOHANG)

    def kill(self) -> None:
        if self.poll() is None:  # once it was waited for, its number may be another process's
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        self._waited(0)
        assert self._status is not None
        return self._status

    def _waited(self, options: int) -> int | None:
        if self._status is None and (found := os.waitpid(self.pid, options))[0]:
            self._status = os.waitstatus_to_exitcode(found[1])
        return self._status


class _Parent:
    """The process that forks decoders: services/gateway/decoding/process.py."""

    def __init__(self, process: _Process, control: socket.socket) -> None:
        control.setblocking(False)
        self._process = process
        self._control = control
        self._one_at_a_time = asyncio.Lock()
        self._is_ready = False

    @classmethod
    def started(cls, tasks: str, memory_bytes: int) -> _Parent:
        """An interpreter of its own."""
        control, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "services.gateway.decoding.process", tasks, str(memory_bytes)],
                stdin=theirs.fileno(),
                cwd=_ROOT,
                env=os.environ | ONE_THREAD,
            )
        return cls(process, control)

    @classmethod
    def forked(cls, tasks: str, memory_bytes: int) -> _Parent:
        """A copy of this process."""
        control, theirs = socket.socketpair()
        with theirs:
            pid = os.fork()
            if pid == 0:
                serve_forked(theirs, tasks, memory_bytes)
        return cls(_Forked(pid), control)

    def alive(self) -> bool:
        return self._process.poll() is None

    async def ready(self) -> None:
        """Wait until it has imported what decoding needs."""
        async with self._one_at_a_time:
            if not self._is_ready:
                await self._number()
                self._is_ready = True

    async def fork(self) -> _Decoder:
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as unless_forked:
            unless_forked.enter_context(ours)
            ours.setblocking(False)
            async with self._one_at_a_time:
                self._check_open()
                socket.send_fds(self._control, [b"F"], [theirs.fileno()])
                pid = await self._number()
            unless_forked.pop_all()
            return _Decoder(self, ours, pid)

    async def end(self, pid: int) -> int:
        """Kill a decoder; how it ended, as waitpid says it."""
        async with self._one_at_a_time:
            self._check_open()
            await asyncio.get_running_loop().sock_sendall(self._control, b"R" + NUMBER.pack(pid))
            return await self._number()

    async def close(self) -> None:
        """End it, and with it all decoders."""
        self._process.kill()
        self._process.wait()
        async with self._one_at_a_time:  # by now the end of the connection was seen
            self._control.close()

    def _check_open(self) -> None:
        if self._control.fileno() < 0:
            raise ConnectionError("the process is gone")

    async def _number(self) -> int:
        number: int = NUMBER.unpack(await _received(self._control, NUMBER.size))[0]
        return number


class _Decoder:
    """One process and the socket it serves."""

    def __init__(self, parent: _Parent, connection: socket.socket, pid: int) -> None:
        self.connection = connection
        self._parent = parent
        self._pid = pid
        self._ending: asyncio.Future[int | None] | None = None

    async def ask(self, frame: Frame) -> Frame:
        """Send a task, wait for its answer. ConnectionError: the process is gone."""
        loop = asyncio.get_running_loop()
        for buffer in frames.written(frame):
            await loop.sock_sendall(self.connection, buffer)
        head_bytes, part_bytes = frames.sizes(
            await _received(self.connection, frames.PREFIX.size), most_bytes=MOST_ANSWER_BYTES
        )
        head = await _received(self.connection, head_bytes)
        return frames.read(head, await _received(self.connection, part_bytes))

    async def end(self) -> int | None:
        """Kill it if it lives; how it ended. None: its parent has ended, and it with its parent."""
        if self._ending is None:  # once: its number may soon be another process's
            self._ending = asyncio.ensure_future(self._end())
        return await asyncio.shield(self._ending)

    async def _end(self) -> int | None:
        try:
            return await self._parent.end(self._pid)
        except ConnectionError:
            return None


async def _received(connection: socket.socket, size: int) -> bytearray:
    loop = asyncio.get_running_loop()
    data = bytearray(size)
    view, at = memoryview(data), 0
    while at < size:
        count = await loop.sock_recv_into(connection, view[at:])
        if not count:
            raise ConnectionError("the process is gone")
        at += count
    return data


def _size(part: Part) -> int:
    return part.nbytes if not isinstance(part, bytes | bytearray) else len(part)


def _crash(status: int) -> Exception:
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:  # not by us: memory ran out, or an operator
        return OverloadedError("the process that decoded the body was killed", retry_after_s=1.0)
    return InvalidInputError("the body made its decoder crash")


def _error(head: Mapping[str, Any]) -> Exception:
    message = str(head.get("message"))
    kind = ERRORS.get(str(head["error"]))
    return kind(message) if kind else DecoderFailedError(message)
