"""What a connection may do to the server: framing, floods, stalls and departures."""

import contextlib
import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from services.core.images import encode_png
from services.gateway.config import GatewayConfig
from services.gateway.gateway import Gateway
from services.gateway.server import connection as connection_module
from services.gateway.server import held
from services.gateway.server import http as http_module
from tests.support.fakes import FakeModel, fake_classifier, fake_denoiser
from tests.support.hosts import Host, running

PICTURE = encode_png(np.full((28, 28, 1), 0.9, np.float32))
HEAD = b"POST /v1/recognize HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\n"
GOOD = HEAD + b"content-length: %d\r\n\r\n" % len(PICTURE) + PICTURE
CLOSING = HEAD + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(PICTURE) + PICTURE
ALIVE = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
PNG = {"content-type": "image/png"}
OCTETS = {"content-type": "application/octet-stream"}


@contextmanager
def listening(*, classifier: FakeModel | None = None, **settings) -> Iterator[Host]:
    config = GatewayConfig(**{"request_timeout_ms": 20_000, **settings})
    gateway = Gateway(config, denoiser=fake_denoiser(), classifier=classifier or fake_classifier())
    with running("http", gateway) as host:
        yield host


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with listening() as host:
        yield host


def connected(host: Host) -> socket.socket:
    return socket.create_connection(("127.0.0.1", host.port), timeout=15)


def answers(host: Host, *pieces: bytes, pause_s: float = 0.0) -> bytes:
    """All that comes back until the server closes; `pieces` are sent one by one."""
    with connected(host) as sock:
        for piece in pieces:
            sock.sendall(piece)
            time.sleep(pause_s)
        return read_all(sock)


def read_all(sock: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := sock.recv(65536):
            found += part
    return found


def statuses(found: bytes) -> list[int]:
    return [int(part[:3]) for part in found.split(b"HTTP/1.1 ")[1:]]


def wait_for(holds: Callable[[], bool], within_s: float = 15.0) -> None:
    ends = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.02)


def connections_of(host: Host) -> int:
    assert host.server is not None
    return len(host.server.connections)


def metrics_of(host: Host) -> str:
    return host.ask("/metrics", method="GET").body.decode()


def test_requests_sent_ahead_are_answered_in_their_order(host):
    found = answers(host, ALIVE + GOOD + ALIVE + CLOSING)

    assert statuses(found) == [200, 200, 200, 200]
    assert [b'"alive"' in part for part in found.split(b"HTTP/1.1 ")[1:]] == [True, False, True, False]


def test_a_client_of_http_1_0_is_told_that_its_connection_stays(host):
    """Without `connection: keep-alive` in the answer `ab -k` waited for the connection's end."""
    kept = b"GET /healthz HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
    first, second = answers(host, kept + b"GET /healthz HTTP/1.0\r\n\r\n").split(b"HTTP/1.1 ")[1:]

    assert b"\r\nconnection: keep-alive\r\n" in first
    assert b"\r\nconnection: close\r\n" in second


def test_a_request_in_single_bytes_is_one_request(host):
    assert statuses(answers(host, *(bytes([byte]) for byte in CLOSING))) == [200]


def test_a_body_in_chunks_is_read(host):
    """HTTP/1.1: `curl -H 'Transfer-Encoding: chunked'` was answered "an empty image: 0 bytes"."""
    half = len(PICTURE) // 2
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (PICTURE[:half], PICTURE[half:]))
    head = HEAD + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n"

    assert statuses(answers(host, head, chunks, b"0\r\n\r\n", pause_s=0.05)) == [200]


@pytest.mark.parametrize("framing", ["content-length", "transfer-encoding"])
def test_an_offer_of_http2_leaves_the_request_as_it_is(host, framing):
    """curl --http2 sends it with every request that is not TLS."""
    head = HEAD + b"connection: Upgrade, HTTP2-Settings, close\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQA\r\n"
    if framing == "content-length":
        whole = head + b"content-length: %d\r\n\r\n" % len(PICTURE) + PICTURE
    else:
        whole = head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(PICTURE), PICTURE)

    assert statuses(answers(host, whole)) == [200]
    assert statuses(answers(host, whole[:-20], whole[-20:], pause_s=0.05)) == [200]


def test_a_client_that_waits_for_100_continue_gets_it(host):
    with connected(host) as sock:
        sock.sendall(HEAD + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(PICTURE))
        first = sock.recv(1000)
        sock.sendall(PICTURE)
        second = sock.recv(1000)

    assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert statuses(second) == [200]


def test_a_client_that_would_be_refused_is_told_instead_of_100_continue(host):
    text = HEAD.replace(b"image/png", b"text/plain") + b"expect: 100-continue\r\ncontent-length: 9\r\n\r\n"

    assert statuses(answers(host, text)) == [415]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50), 400),  # TLS
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),  # HTTP/2 without asking
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET /healthz HTTP/1.1\r\nhost: x\r\na b: c\r\n\r\n", 400),
        (HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\nabcdef", 400),
        (HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"content-length: -1\r\n\r\n", 400),
        (HEAD + b"transfer-encoding: chunked\r\n\r\nxyz\r\n", 422),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * 100_000, 431),
        (b"CONNECT example.org:443 HTTP/1.1\r\nhost: x\r\n\r\n", 404),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_request_is_refused_and_leaves_the_server_well(host, sent, status):
    with connected(host) as sock:
        sock.sendall(sent)
        found = sock.recv(65536)

    assert statuses(found) == [status]
    assert host.ask("/healthz", method="GET").status == 200


def test_trailers_are_bounded_as_a_head_is(host):
    """They were kept, all of them, until the request's deadline: 200 MB from one connection."""
    head = HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-trailer: "

    assert statuses(answers(host, head, *[b"a" * 65536] * 4)) == [422]


def test_a_head_that_is_sent_ahead_is_bounded_too():
    with listening(classifier=fake_classifier(takes_s=0.5)) as host:
        found = answers(host, GOOD, b"GET /healthz HTTP/1.1\r\nhost: x\r\na: ", *[b"b" * 65536] * 4)

    assert statuses(found) == [200]  # and no more: the connection is closed


def test_half_a_head_is_answered_408_within_seconds():
    with listening(header_timeout_s=0.2) as host:
        started = time.monotonic()
        found = answers(host, b"GET /healthz HTTP/1.1\r\nhost:")

    assert statuses(found) == [408]
    assert time.monotonic() - started < 4


def test_a_silent_connection_is_closed():
    with listening(header_timeout_s=0.2) as host, connected(host) as sock:
        assert sock.recv(10) == b""


def test_an_idle_connection_is_closed_after_its_time():
    with listening(idle_timeout_s=0.2) as host, connected(host) as sock:
        sock.sendall(ALIVE)

        assert statuses(sock.recv(10_000)) == [200]
        assert sock.recv(10) == b""


def test_a_body_that_stalls_ends_and_is_answered(monkeypatch):
    monkeypatch.setattr(http_module, "STALLED_S", 0.3)
    with listening() as host:
        found = answers(host, HEAD + b"content-length: 5000\r\n\r\n" + bytes(100))

    assert statuses(found) == [504]


def test_a_client_that_never_reads_is_cut_off(monkeypatch):
    """Its answers wait in memory no longer than the limit."""
    monkeypatch.setattr(http_module, "STALLED_S", 0.3)
    with listening() as host, connected(host) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(0.2)
        with contextlib.suppress(TimeoutError, ConnectionError):
            while True:
                sock.sendall(b"GET /openapi.yaml HTTP/1.1\r\nhost: x\r\n\r\n" * 10)
        wait_for(lambda: not connections_of(host))

        assert host.ask("/healthz", method="GET").status == 200


def test_answers_are_not_made_far_ahead_of_a_client_that_does_not_read():
    """They were 44 of 50, 64 KB each, in a buffer of the kernel's: 200 such clients took the workers for seconds."""
    with listening() as host, socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", host.port))
        sock.sendall(b"GET /openapi.yaml HTTP/1.1\r\nhost: x\r\n\r\n" * 50)
        made = [-1.0, 0.0]
        while made[-1] > made[-2]:  # until no more are made
            time.sleep(0.5)
            made.append(counted(host, "/openapi.yaml"))

    assert 0 < made[-1] < 20


def counted(host: Host, route: str) -> float:
    labels = {"route": route, "status": "200"}
    return host.gateway.metrics.registry.get_sample_value("cleardigits_requests_total", labels) or 0.0


def test_a_flood_of_silent_connections_is_no_outage():
    """2,048 silent connections were one: none was closed, and no request was answered in 100 s."""
    with listening(max_connections=20, max_connections_per_address=20) as host, contextlib.ExitStack() as ends:
        for _ in range(60):
            ends.enter_context(connected(host))
        answered = [host.ask("/v1/recognize", body=PICTURE, headers=PNG) for _ in range(3)]
        metrics = metrics_of(host)

        assert connections_of(host) <= 21
    assert [answer.status for answer in answered] == [200] * 3
    assert 'cleardigits_rejected_total{reason="connections"}' in metrics


def test_beyond_the_limit_the_answer_is_503_where_all_are_at_work():
    with listening(max_connections=2) as host, contextlib.ExitStack() as ends:
        for _ in range(2):
            ends.enter_context(connected(host)).sendall(HEAD + b"content-length: 500\r\n\r\n")
        assert host.server is not None
        wait_for(lambda: [each.state.name for each in host.server.connections] == ["BODY"] * 2)
        with connected(host) as sock:
            found = read_all(sock)

    assert statuses(found) == [503]
    assert b"retry-after: 1" in found
    assert json.loads(found.partition(b"\r\n\r\n")[2])["type"] == "/problems/overloaded"


def test_one_address_may_not_take_all_connections():
    with listening(max_connections=100, max_connections_per_address=5) as host, contextlib.ExitStack() as ends:
        for _ in range(20):
            ends.enter_context(connected(host))
        wait_for(lambda: 'cleardigits_rejected_total{reason="connections"}' in metrics_of(host))
        wait_for(lambda: connections_of(host) <= 5)


def test_bodies_that_are_promised_hold_nothing(monkeypatch):
    """Eight sockets that promised 32 MB and sent nothing blocked every larger body for up to 60 s."""
    monkeypatch.setattr(held, "HELD_BODIES", 1)
    with listening(max_body_bytes=200_000) as host, contextlib.ExitStack() as ends:
        for _ in range(8):
            ends.enter_context(connected(host)).sendall(HEAD + b"content-length: 200000\r\n\r\n")
        answer = host.ask("/v1/recognize", body=bytes(784 * 200), headers=OCTETS)

    assert answer.status == 200


def test_bodies_that_are_held_are_bounded(monkeypatch):
    monkeypatch.setattr(held, "HELD_BODIES", 0)
    with listening() as host:
        answer = host.ask("/v1/recognize", body=bytes(100_000), headers=OCTETS)
        small = host.ask("/v1/recognize", body=PICTURE, headers=PNG)

    assert (answer.status, json.loads(answer.body)["type"]) == (503, "/problems/overloaded")
    assert small.status == 200


def test_what_a_body_held_is_free_after_its_answer(monkeypatch):
    monkeypatch.setattr(held, "HELD_BODIES", 1)
    with listening(max_body_bytes=200_000) as host:
        answered = [host.ask("/v1/recognize", body=bytes(784 * 200), headers=OCTETS).status for _ in range(3)]

    assert answered == [200] * 3


def test_a_body_without_a_stated_size_is_bounded(monkeypatch):
    monkeypatch.setattr(connection_module, "MOST_DISCARDED_BYTES", 1 << 20)
    head = HEAD + b"transfer-encoding: chunked\r\n\r\n"
    with listening(max_body_bytes=5000) as host, connected(host) as sock:
        sock.sendall(head + (b"1000\r\n" + bytes(4096) + b"\r\n") * 3)
        found = sock.recv(10_000)

    assert statuses(found) == [413]


GONE = 'cleardigits_requests_total{route="/v1/recognize",status="499"} 1.0'


def test_a_client_that_leaves_in_mid_body_is_counted_and_logged_without_a_traceback(caplog):
    with listening() as host:
        with caplog.at_level(logging.INFO), connected(host) as sock:
            sock.sendall(HEAD + b"content-length: 500\r\n\r\n" + bytes(100))
            wait_for(lambda: [each.state.name for each in host.server.connections] == ["BODY"])
        wait_for(lambda: GONE in metrics_of(host))

    assert not any(record.exc_info for record in caplog.records)


def test_a_client_that_leaves_is_not_computed_for():
    classifier = fake_classifier(takes_s=30)
    with listening(classifier=classifier) as host:
        with connected(host) as sock:
            sock.sendall(GOOD)
            wait_for(lambda: bool(classifier.sizes))
        wait_for(lambda: GONE in metrics_of(host))
