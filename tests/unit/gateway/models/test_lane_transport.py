"""Both ends of the lane: LaneWire of the gateway, LaneServer of the model server, and a socket between them."""

import asyncio
import errno
import resource
import socket
import stat
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from services.core import lane as protocol
from services.core.errors import ConfigError, ModelNotFoundError
from services.core.lane import ClientEnd, Code, Method
from services.gateway.models.lane_transport import LaneWire
from services.gateway.models.transport import CallFailedError
from services.model_server.interfaces import lane
from services.model_server.interfaces.lane import LaneServer


def echo(data: bytes, _deadline: float | None) -> bytes:
    return data


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "model.sock"


@pytest.fixture
def serve(path):
    """Start a server whose Predict is the function given; all are stopped in the end."""
    servers: list[LaneServer] = []

    def start(predict: Callable[[bytes, float | None], bytes] = echo) -> LaneServer:
        server = LaneServer(path, {Method.PREDICT: predict})
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop(5)


def using(path: Path, use: Callable[[LaneWire], Coroutine]) -> object:
    async def session() -> object:
        wire = LaneWire(path)
        try:
            return await use(wire)
        finally:
            await wire.close()

    return asyncio.run(session())


def ask(wire: LaneWire, request: bytes = b"x", *, timeout_s: float = 5.0, method: int = Method.PREDICT) -> Coroutine:
    return wire.call(method, request, timeout_s=timeout_s)


@pytest.mark.parametrize("size", [0, 1, 16 * 1024 - 5, 16 * 1024 - 4, 100_000, 5_000_000])
def test_an_answer_of_any_size_arrives_whole(serve, path, size):
    serve()
    message = bytes(range(256)) * (size // 256) + b"e" * (size % 256)

    async def twice(wire: LaneWire) -> tuple[bytes, bytes]:
        return await ask(wire, message), await ask(wire, message[::-1])

    assert using(path, twice) == (message, message[::-1])


def test_calls_under_way_together_get_their_own_answers_on_connections_that_are_kept(serve, path):
    callers: set[str] = set()

    def slowly(data: bytes, _deadline: float | None) -> bytes:
        callers.add(threading.current_thread().name + str(threading.get_ident()))
        time.sleep(0.01)
        return data

    serve(slowly)

    async def many(wire: LaneWire) -> list[bytes]:
        answers = []
        for _ in range(5):
            answers += await asyncio.gather(*(ask(wire, b"%d" % number) for number in range(4)))
        return answers

    assert using(path, many) == [b"0", b"1", b"2", b"3"] * 5
    assert len(callers) == 4


def test_the_time_that_is_left_travels_with_the_call(serve, path):
    left_s: list[float] = []

    def note(data: bytes, deadline: float | None) -> bytes:
        left_s.append(deadline - time.monotonic())
        return data

    serve(note)
    using(path, lambda wire: ask(wire, timeout_s=3))

    assert left_s == [pytest.approx(3, abs=0.5)]


def test_an_error_keeps_its_code_and_words(serve, path):
    def refuse(data: bytes, _deadline: float | None) -> bytes:
        raise ModelNotFoundError("no such model")

    serve(refuse)
    with pytest.raises(CallFailedError, match="no such model") as raised:
        using(path, ask)

    assert raised.value.code is Code.NOT_FOUND


def test_a_method_it_does_not_have_is_unimplemented(serve, path):
    serve()
    with pytest.raises(CallFailedError, match="no method 7") as raised:
        using(path, lambda wire: ask(wire, method=7))

    assert raised.value.code is Code.UNIMPLEMENTED


def test_the_answer_to_a_call_that_was_given_up_does_not_meet_the_next(serve, path):
    def late_for_the_first(data: bytes, _deadline: float | None) -> bytes:
        time.sleep(0.3 if data == b"first" else 0)
        return data

    serve(late_for_the_first)

    async def both(wire: LaneWire) -> bytes:
        with pytest.raises(CallFailedError) as raised:
            await ask(wire, b"first", timeout_s=0.05)
        assert raised.value.code is Code.DEADLINE_EXCEEDED
        return await ask(wire, b"second")

    assert using(path, both) == b"second"


def test_no_server_is_unavailable_soon(path):
    started = time.monotonic()
    with pytest.raises(CallFailedError, match="cannot connect") as raised:
        using(path, lambda wire: ask(wire, timeout_s=5))

    assert raised.value.code is Code.UNAVAILABLE
    assert time.monotonic() - started < 1


def test_a_server_that_comes_back_in_time_costs_retries_not_errors(serve, path):
    first = serve()

    async def across_a_restart(wire: LaneWire) -> list[bytes]:
        before = await ask(wire, b"before")
        await asyncio.to_thread(first.stop, 5)
        after = asyncio.ensure_future(ask(wire, b"after"))
        await asyncio.sleep(0.03)
        await asyncio.to_thread(serve)
        return [before, await after]

    assert using(path, across_a_restart) == [b"before", b"after"]


@pytest.mark.parametrize(
    ("answer", "hangs_up", "attempts", "code"),
    [
        (b"\0\x10\0\0\0half", True, 5, Code.UNAVAILABLE),
        (b"\0\xff\xff\xff\xff", False, 1, Code.INTERNAL),
        (b"HTTP/1.1 400", False, 1, Code.INTERNAL),
    ],
    ids=["broken off", "too long", "no such code"],
)
def test_an_answer_broken_off_is_unavailable_and_one_in_another_protocol_is_an_error(
    path, answer, hangs_up, attempts, code
):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def answer_each_try() -> None:
        for _ in range(attempts):
            connection, _ = listener.accept()
            connection.recv(1024)
            connection.sendall(answer)
            if not hangs_up:
                connection.recv(1)  # until the caller does
            connection.close()

    thread = threading.Thread(target=answer_each_try)
    thread.start()
    with pytest.raises(CallFailedError, match=r"hung up|another protocol") as raised:
        using(path, ask)
    thread.join(5)
    listener.close()

    assert raised.value.code is code


def test_stopping_lets_a_call_finish_and_takes_no_other(serve, path):
    def slowly(data: bytes, _deadline: float | None) -> bytes:
        time.sleep(0.3)
        return data

    server = serve(slowly)

    async def ask_and_stop(wire: LaneWire) -> tuple[bytes, bool]:
        call = asyncio.ensure_future(ask(wire, b"done"))
        await asyncio.sleep(0.1)
        stopped = await asyncio.to_thread(server.stop, 5)
        return await call, stopped

    assert using(path, ask_and_stop) == (b"done", True)
    assert not path.exists()


def test_stopping_says_when_a_call_did_not_end(serve, path):
    release = threading.Event()

    def hang(data: bytes, _deadline: float | None) -> bytes:
        release.wait(10)
        return data

    server = serve(hang)

    async def give_up(wire: LaneWire) -> bool:
        call = asyncio.ensure_future(ask(wire))
        await asyncio.sleep(0.1)
        stopped = await asyncio.to_thread(server.stop, 0.1)
        release.set()
        await call
        return stopped

    assert using(path, give_up) is False


def test_the_socket_is_for_its_own_user_only(serve, path):
    serve()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_socket_left_behind_is_replaced_one_in_use_is_not(serve, path):
    left_behind = socket.socket(socket.AF_UNIX)
    left_behind.bind(str(path))
    left_behind.close()
    serve()

    with pytest.raises(ConfigError, match="another server does already"):
        LaneServer(path, {})
    assert using(path, ask) == b"x"


def test_a_folder_that_is_not_there_is_a_wrong_setting(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        LaneServer(tmp_path / "nowhere" / "model.sock", {})


def test_connections_are_bounded(serve, path, monkeypatch):
    monkeypatch.setattr(lane, "MAX_CONNECTIONS", 2)
    serve()
    held = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    for each in held:
        each.connect(str(path))
        each.settimeout(5)

    assert held[2].recv(1) == b""  # hung up on
    held[0].close()
    held[1].sendall(ClientEnd().call(Method.PREDICT, 0, b"y"))
    assert held[1].recv(1024)[-1:] == b"y"
    for each in held[1:]:
        each.close()


def test_a_message_beyond_the_limit_is_not_even_read(serve, path, monkeypatch):
    monkeypatch.setattr(protocol, "MAX_MESSAGE_BYTES", 10)
    serve()
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))
        caller.settimeout(5)
        caller.sendall(ClientEnd().call(Method.PREDICT, 0, bytes(11)))

        assert caller.recv(1) == b""


def test_the_lane_accepts_again_after_file_descriptors_ran_out(serve, path, monkeypatch):
    """Issue 15.9: the accept thread ended for good with the first EMFILE."""
    server = serve()
    refusals = iter([OSError(errno.EMFILE, "Too many open files")] * 3)
    accept = server._listener.accept

    class Exhausted:
        def accept(self):
            for refusal in refusals:
                raise refusal
            return accept()

        def __getattr__(self, name):
            return getattr(real, name)

    real = server._listener
    monkeypatch.setattr(server, "_listener", Exhausted())
    using(path, ask)  # ends the accept() that waits outside of our hands

    assert using(path, ask) == b"x"
    assert next(refusals, None) is None


def test_claims_of_large_messages_cost_no_memory(serve, path):
    """Issue 15.13: 60 connections of 9 bytes each took 220 MB."""
    serve()
    before = resident_bytes()
    callers = [socket.socket(socket.AF_UNIX) for _ in range(60)]
    for caller in callers:
        caller.connect(str(path))
        caller.sendall(ClientEnd().call(Method.PREDICT, 0, bytes(9)).replace(b"\x09\0\0\0", b"\0\0\0\x03"))
    time.sleep(0.3)
    grown = resident_bytes() - before
    for caller in callers:
        caller.close()

    assert grown < 20e6


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_a_stop_waits_for_a_connection_that_is_being_taken(path, serve, monkeypatch):
    """Between the accept and the start of its thread, which could not be joined before."""
    taking, start = threading.Event(), threading.Thread.start

    def slowly(thread: threading.Thread) -> None:
        if thread.name == "lane-call":
            taking.set()
            time.sleep(0.2)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", slowly)
    server = serve()
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))
        assert taking.wait(5)

        assert server.stop(5) is True


def test_a_connection_for_which_no_thread_can_be_started_is_closed(path, serve, monkeypatch):
    start = threading.Thread.start

    def never(thread: threading.Thread) -> None:
        if thread.name == "lane-call":
            raise RuntimeError("can't start new thread")
        start(thread)

    serve()
    with monkeypatch.context() as without, socket.socket(socket.AF_UNIX) as caller:
        without.setattr(threading.Thread, "start", never)
        caller.settimeout(5)
        caller.connect(str(path))
        assert caller.recv(1) == b""

    assert using(path, ask) == b"x"
