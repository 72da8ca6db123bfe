"""Calls of gRPC pass what requests of HTTP pass: keys, rates, deadlines, bounds, counts, lines of the log, drain."""

import asyncio
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest

from services.gateway.admission.auth import hash_key
from services.gateway.config import GatewayConfig
from services.gateway.gateway import Gateway
from services.gateway.server import grpc_calls, grpc_server, held
from services.pb import open_inference_pb2 as pb
from tests.support.fakes import FakeModel, fake_classifier, fake_denoiser
from tests.support.hosts import grpc_running

Code = grpc.StatusCode
SERVICE = "/inference.GRPCInferenceService/"


def request_of(images: int = 1, model: str = "digits", **more) -> bytes:
    tensor = pb.ModelInferRequest.InferInputTensor(name="images", datatype="UINT8", shape=[images, 784])
    request = pb.ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=[bytes(784 * images)], **more)
    return request.SerializeToString()


class Running:
    """A gateway with fake models behind its gRPC server."""

    def __init__(self, classifier: FakeModel | None = None, **settings) -> None:
        self.classifier = classifier or fake_classifier()
        self.draining = False
        self.gateway = Gateway(
            GatewayConfig(**{"request_timeout_ms": 20_000, **settings}),
            denoiser=fake_denoiser(),
            classifier=self.classifier,
            draining=lambda: self.draining,
        )

    @contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        with grpc_running(self.gateway) as self.port, grpc.insecure_channel(*apart(self.port)) as channel:
            yield channel


def apart(port: int) -> tuple[str, tuple[tuple[str, int], ...]]:
    """The arguments of a channel with a connection of its own."""
    return f"127.0.0.1:{port}", (("grpc.use_local_subchannel_pool", 1),)


def call(channel: grpc.Channel, method: str = "ModelInfer", message: bytes | None = None, **options):
    """The call's outcome: an object with `code()`, `details()` and `trailing_metadata()`."""
    message = request_of() if message is None else message
    try:
        _, done = channel.unary_unary(SERVICE + method).with_call(message, **{"timeout": 20, **options})
    except grpc.RpcError as error:
        return error
    return done


def metadata_of(done) -> dict[str, str]:
    return dict(done.trailing_metadata() or ())


def counted(gateway: Gateway, method: str, status: int) -> float:
    labels = {"route": SERVICE + method, "status": str(status)}
    return gateway.metrics.registry.get_sample_value("cleardigits_requests_total", labels) or 0.0


def wait_for(condition) -> None:
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_a_key_is_asked_for_but_not_by_probes(tmp_path: Path):
    (tmp_path / "keys").write_text(f"alice {hash_key('secret')}\n")
    with Running(api_keys_file=str(tmp_path / "keys")).channel() as channel:
        without = call(channel)
        wrong = call(channel, metadata=(("x-api-key", "guess"),))
        right = [
            call(channel, metadata=(pair,)) for pair in (("x-api-key", "secret"), ("authorization", "Bearer secret"))
        ]
        metadata = call(channel, "ModelMetadata", b"")
        probes = [call(channel, method, b"") for method in ("ServerLive", "ServerReady")]

    assert [done.code() for done in (without, wrong, metadata)] == [Code.UNAUTHENTICATED] * 3
    assert metadata_of(without)["www-authenticate"] == "Bearer"
    assert [done.code() for done in (*right, *probes)] == [Code.OK] * 4


def test_a_key_is_asked_for_before_the_message_is_read(tmp_path: Path):
    (tmp_path / "keys").write_text(f"alice {hash_key('secret')}\n")
    never = threading.Event()

    def messages() -> Iterator[bytes]:
        never.wait(20)
        yield b""

    with Running(api_keys_file=str(tmp_path / "keys")).channel() as channel:
        with pytest.raises(grpc.RpcError) as refused:
            channel.stream_unary(f"{SERVICE}ModelInfer")(messages(), timeout=20)
        never.set()

    assert refused.value.code() is Code.UNAUTHENTICATED


def test_a_rate_is_kept_for_each_client():
    with Running(rate_limit_per_s=0.001, rate_limit_burst=2).channel() as channel:
        done = [call(channel) for _ in range(3)]

    assert [each.code() for each in done] == [Code.OK, Code.OK, Code.RESOURCE_EXHAUSTED]
    assert int(metadata_of(done[2])["retry-after"]) >= 1


def test_the_request_s_id_goes_to_the_models_and_comes_back():
    running = Running()
    with running.channel() as channel:
        named = call(channel, metadata=(("x-request-id", "mine"), ("binary-bin", b"\x00")))
        unnamed = call(channel)
        failed = call(channel, message=b"\xff", metadata=(("x-request-id", "his"),))

    assert metadata_of(named)["x-request-id"] == "mine"
    assert len(metadata_of(unnamed)["x-request-id"]) == 32
    assert metadata_of(failed)["x-request-id"] == "his"
    assert ("x-request-id", "mine") in running.classifier.metadata[0]


def test_a_label_is_named_in_the_metadata_and_told_in_the_trailing_one():
    running = Running(split="stable:100,canary:0")
    with running.channel() as channel:
        told = [
            metadata_of(call(channel, metadata=metadata)).get("x-cleardigits-label")
            for metadata in ((), (("x-cleardigits-label", "canary"),))
        ]
        refused = call(channel, metadata=(("x-cleardigits-label", "beta"),))

    assert told == ["stable", "canary"]
    assert (refused.code(), "stable, canary" in refused.details()) == (Code.INVALID_ARGUMENT, True)


def test_the_caller_s_deadline_is_the_request_s():
    running = Running(fake_classifier(takes_s=5))
    with running.channel() as channel:
        started = time.monotonic()
        done = call(channel, timeout=0.3)
        took_s = time.monotonic() - started
        wait_for(lambda: counted(running.gateway, "ModelInfer", 504) + counted(running.gateway, "ModelInfer", 499))

    assert done.code() is Code.DEADLINE_EXCEEDED
    assert took_s < 4


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({"request_timeout_ms": 100}, {"timeout": None}),
        ({"request_timeout_ms": 100, "max_request_timeout_ms": 200}, {"timeout": 20}),
        ({}, {"timeout": None, "metadata": (("request-timeout-ms", "100"),)}),
    ],
    ids=["the service's own", "the service's longest", "the header of HTTP"],
)
def test_a_deadline_there_always_is(settings, options):
    with Running(fake_classifier(takes_s=5), **settings).channel() as channel:
        done = call(channel, **options)

    assert done.code() is Code.DEADLINE_EXCEEDED
    assert "ms were used up" in done.details()  # the gateway's words, not those of the client's library


def test_a_message_that_is_too_large_is_refused():
    running = Running(max_body_bytes=5000)
    with running.channel() as channel:
        done = [call(channel, message=request_of(7), compression=how) for how in (None, grpc.Compression.Gzip)]
        after = call(channel)
        wait_for(lambda: counted(running.gateway, "ModelInfer", 499) == 2)  # gRPC answers, and cancels our call

    assert [each.code() for each in done] == [Code.RESOURCE_EXHAUSTED] * 2
    assert after.code() is Code.OK


def test_a_call_without_a_message_is_refused():
    with Running().channel() as channel, pytest.raises(grpc.RpcError) as refused:
        channel.stream_unary(f"{SERVICE}ModelInfer")(iter(()), timeout=20)

    assert (refused.value.code(), refused.value.details()) == (Code.INVALID_ARGUMENT, "the call has no message")


def test_messages_that_are_held_are_bounded_with_the_bodies_of_http(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(held, "HELD_BODIES", 0)
    with Running().channel() as channel:
        large, small = call(channel, message=request_of(100)), call(channel)

    assert large.code() is Code.UNAVAILABLE
    assert metadata_of(large)["retry-after"] == "1"
    assert small.code() is Code.OK


def test_what_large_messages_held_is_given_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(held, "HELD_BODIES", 1)
    with Running(max_body_bytes=100_000).channel() as channel:
        done = [call(channel, message=request_of(100)) for _ in range(3)]

    assert [each.code() for each in done] == [Code.OK] * 3


def test_slow_messages_are_few_and_leave_room_for_quick_ones(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(grpc_server, "HELD_BODIES", 2)
    go_on = threading.Event()

    def slow_message() -> Iterator[bytes]:
        go_on.wait(20)
        yield request_of()

    with Running().channel() as channel, ExitStack() as ends:
        ends.callback(go_on.set)
        slow = [channel.stream_unary(f"{SERVICE}ModelInfer").future(slow_message(), timeout=20) for _ in range(5)]
        wait_for(lambda: sum(each.done() for each in slow) == 3)
        quick = call(channel)
        go_on.set()
        codes = sorted(each.code().name for each in slow)

    assert quick.code() is Code.OK
    assert codes == ["OK", "OK", "UNAVAILABLE", "UNAVAILABLE", "UNAVAILABLE"]


def test_a_client_that_gives_up_frees_the_work(caplog: pytest.LogCaptureFixture):
    running = Running(fake_classifier(takes_s=5))
    with running.channel() as channel:
        future = channel.unary_unary(f"{SERVICE}ModelInfer").future(request_of(), timeout=20)
        wait_for(lambda: running.classifier.sizes)
        future.cancel()
        wait_for(lambda: counted(running.gateway, "ModelInfer", 499))

    assert not [record for record in caplog.records if record.exc_info]


def test_an_unexpected_failure_is_internal_without_its_secrets(caplog: pytest.LogCaptureFixture):
    running = Running()
    running.classifier._function = lambda images: {}["secret"]
    with running.channel() as channel:
        done = call(channel)

    assert done.code() is Code.INTERNAL
    assert "secret" not in done.details()
    assert len([record for record in caplog.records if record.exc_info]) == 1


def test_calls_are_counted_and_have_their_line(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "cleardigits.access")
    running = Running()
    with running.channel() as channel:
        call(channel, message=request_of(3))
        call(channel, message=b"\xff")
        call(channel, "ServerReady", b"")

    lines = [record.__dict__ for record in caplog.records if record.name == "cleardigits.access"]
    assert [(line["route"], line["status"], line["images"]) for line in lines] == [
        (f"{SERVICE}ModelInfer", 200, 3),
        (f"{SERVICE}ModelInfer", 400, 0),
        (f"{SERVICE}ServerReady", 200, 0),
    ]
    assert {line["client"] for line in lines} == {"127.0.0.1"}
    assert lines[2]["levelno"] == logging.DEBUG
    assert counted(running.gateway, "ModelInfer", 200) == counted(running.gateway, "ModelInfer", 400) == 1


@pytest.mark.parametrize(
    ("peer", "address"),
    [("ipv4:127.0.0.1:5000", "127.0.0.1"), ("ipv6:%5B::1%5D:5000", "::1"), ("unix:", "")],
)
def test_addresses_of_peers(peer: str, address: str):
    assert grpc_server._address(peer) == address


def test_a_gateway_that_drains_is_not_ready_and_still_answers():
    running = Running()
    with running.channel() as channel:
        ask = channel.unary_unary(f"{SERVICE}ServerReady", response_deserializer=pb.ServerReadyResponse.FromString)
        before = ask(b"", timeout=20).ready
        running.draining = True
        during, done = ask(b"", timeout=20).ready, call(channel)

    assert (before, during) == (True, False)
    assert done.code() is Code.OK


@pytest.mark.parametrize(("grace_s", "code"), [(10.0, Code.OK), (0.1, Code.UNAVAILABLE)])
def test_calls_under_way_end_before_the_server(grace_s: float, code: grpc.StatusCode):
    running = Running(fake_classifier(takes_s=1))

    async def use() -> grpc.StatusCode:
        server = grpc_server.GrpcServer(running.gateway)
        port = await server.start("127.0.0.1", 0)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            under_way = channel.unary_unary(f"{SERVICE}ModelInfer")(request_of(), timeout=20)
            while not running.classifier.sizes:
                await asyncio.sleep(0.01)
            await server.stop(grace_s)
            try:
                await under_way
            except grpc.aio.AioRpcError as error:
                assert error.details() == "the gateway is shutting down"
                return error.code()
            return Code.OK

    async def all_of_it() -> grpc.StatusCode:
        try:
            return await use()
        finally:
            await running.gateway.close()

    assert asyncio.run(all_of_it()) is code


def test_many_calls_at_once_on_one_connection():
    with Running().channel() as channel:
        futures = [channel.unary_unary(f"{SERVICE}ModelInfer").future(request_of(), timeout=20) for _ in range(200)]
        codes = {future.code() for future in futures}

    assert codes == {Code.OK}


def test_an_answer_of_one_image_holds_its_digit():
    with Running().channel() as channel:
        reply = channel.unary_unary(f"{SERVICE}ModelInfer", response_deserializer=pb.ModelInferResponse.FromString)(
            request_of(), timeout=20
        )

    index = [output.name for output in reply.outputs].index("digit")
    np.testing.assert_array_equal(np.frombuffer(reply.raw_output_contents[index], "<i8"), [0])


@pytest.mark.parametrize("path", [b"/inference.GRPCInferenceService/\xff", b"/\xff\xfe", b"x"])
def test_a_method_of_any_bytes_costs_no_other_call(path: bytes, caplog: pytest.LogCaptureFixture):
    """grpc.aio's own loop ends at a path that is not UTF-8, and listens no more."""
    running = Running(fake_classifier(takes_s=1))
    with running.channel() as channel, ExitStack() as ends:
        under_way = channel.unary_unary(f"{SERVICE}ModelInfer").future(request_of(), timeout=20)
        wait_for(lambda: running.classifier.sizes)
        for _ in range(3):
            hostile = ends.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=5))  # it stays
            hostile.sendall(http2_call(path))
            hostile.recv(1)
        time.sleep(0.2)
        after = call(channel, "ServerLive", b"")
        codes = (under_way.code(), after.code())

    assert codes == (Code.OK, Code.OK)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_methods_that_nobody_has_are_unimplemented_however_many():
    with Running().channel() as channel:
        codes = {call(channel, f"None{number}", b"").code() for number in range(2 * grpc_calls.ACCEPTED_AT_ONCE)}

    assert codes == {Code.UNIMPLEMENTED}


def test_calls_that_came_together_begin_together():
    """One began in some thirty turns of the event loop: beside a busy HTTP server the last began seconds later."""
    turns, began = 0, []

    async def use() -> None:
        nonlocal turns
        running = Running()
        enter = running.gateway.admission.enter
        running.gateway.admission.enter = lambda *given: began.append(turns) or enter(*given)  # type: ignore[method-assign]
        server = grpc_server.GrpcServer(running.gateway)
        port = await server.start("127.0.0.1", 0)
        sent = threading.Event()

        def ask() -> None:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                futures = [channel.unary_unary(f"{SERVICE}ServerLive").future(b"", timeout=20) for _ in range(32)]
                time.sleep(0.3)  # they are written by a thread of gRPC
                sent.set()
                for future in futures:
                    future.result()

        asking = threading.Thread(target=ask)
        asking.start()
        sent.wait()  # the loop does nothing else meanwhile
        while asking.is_alive():
            turns += 1
            await asyncio.sleep(0)
        await server.stop(0.1)
        await running.gateway.close()

    asyncio.run(use())

    assert len(began) == 32
    assert began[-1] - began[0] < 32


def test_calls_that_waited_longer_than_their_budget_never_begin():
    running = Running(request_timeout_ms=1000)
    answered, stuck = running.classifier._function, threading.Event()

    def hold_the_loop(images: np.ndarray) -> object:
        stuck.set()
        time.sleep(3)
        return answered(images)

    running.classifier._function = hold_the_loop
    count = 3 * grpc_calls.ACCEPTED_AT_ONCE
    with running.channel() as channel:
        holding = channel.unary_unary(f"{SERVICE}ModelInfer").future(request_of(), timeout=20)
        stuck.wait()
        futures = [channel.unary_unary(f"{SERVICE}ServerLive").future(b"", timeout=20) for _ in range(count)]
        codes = Counter(future.code() for future in futures)
        holding.exception()

    assert codes[Code.OK] < count
    assert codes[Code.OK] + codes[Code.CANCELLED] == count
    assert counted(running.gateway, "ServerLive", 200) == codes[Code.OK]


def test_calls_under_way_are_bounded():
    running = Running(fake_classifier(takes_s=1), max_connections=3)
    with running.channel() as first, grpc.insecure_channel(*apart(running.port)) as second:
        calls = [
            channel.unary_unary(f"{SERVICE}ModelInfer").future(request_of(), timeout=20)
            for channel in (first, second)
            for _ in range(3)
        ]
        codes = Counter(each.code() for each in calls)
        refused = next(each for each in calls if each.code() is not Code.OK)

    assert codes == {Code.OK: 3, Code.UNAVAILABLE: 3}
    assert (refused.details(), metadata_of(refused)["retry-after"]) == ("too many calls", "1")
    assert running.gateway.metrics.registry.get_sample_value(
        "cleardigits_rejected_total", {"reason": "overloaded"}
    ) == pytest.approx(3)


def test_a_call_s_budget_begins_when_it_came():
    context = CalledContext()

    async def ask() -> None:
        running = Running(request_timeout_ms=1000)
        server = grpc_server.GrpcServer(running.gateway)
        operation = server.operations[SERVICE + "ModelInfer"]
        try:
            with pytest.raises(Aborted):
                await server.answer(operation, None, context, arrived_s=time.monotonic() - 1.5)
        finally:
            await running.gateway.close()

    asyncio.run(ask())

    assert context.code is Code.DEADLINE_EXCEEDED


def test_a_server_that_accepts_no_more_says_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    """Then its worker ends, and another takes its place."""

    async def request(*_: object) -> None:
        raise grpc.aio.InternalError("no more")

    async def use() -> None:
        running, failed = Running(), asyncio.Event()
        monkeypatch.setattr(grpc_calls.CallServer, "_request_registered_call", request)
        server = grpc_server.GrpcServer(running.gateway, failed=failed.set)
        await server.start("127.0.0.1", 0)
        await asyncio.wait_for(failed.wait(), 10)
        await server.stop(0.1)
        await running.gateway.close()

    asyncio.run(use())

    assert "the gRPC server ended" in caplog.text


class Aborted(Exception):
    """As gRPC's own."""


class CalledContext:
    """Of a call with a message that is none, and without a deadline."""

    def peer(self) -> str:
        return "ipv4:127.0.0.1:5000"

    def invocation_metadata(self) -> tuple:
        return ()

    def time_remaining(self) -> None:
        return None

    async def read(self) -> bytes:
        return b"\xff"

    async def abort(self, code: grpc.StatusCode, *_: object) -> None:
        self.code = code
        raise Aborted


def test_an_answer_that_cannot_be_sent_any_more_is_a_cancelled_call():
    """It was a traceback in the log."""

    async def answering() -> None:
        raise grpc.aio.InternalError("Failed execute_batch")

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(grpc_calls.unless_gone(answering()))


def http2_call(path: bytes) -> bytes:
    """A call without a message, as it goes over the wire."""
    fields = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"x"),
        (b"te", b"trailers"),
    )
    fields += ((b"content-type", b"application/grpc"),)
    head = b"".join(bytes((0, len(name))) + name + bytes((len(value),)) + value for name, value in fields)
    settings, headers = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)), len(head).to_bytes(3) + bytes((1, 5, 0, 0, 0, 1))
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + headers + head
