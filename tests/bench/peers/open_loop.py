"""Requests at random times that wait for no answer, as users come: the latency of each counts from when it was due.

One thread, plain sockets and `select`, whose timeout is finer than a millisecond: what is left of the client's own time
is measured by pressing an endpoint that does nothing.
"""

import re
import select
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from urllib.parse import urlsplit

import numpy as np

MOST_WAITING_S = 10.0
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


def press_open(url: str, *, rate: float, seconds: float, body: bytes, content_type: str, seed: int) -> list[float]:
    """The latency in ms of each request of a Poisson process; SystemExit when an answer is missing or is not 200."""
    due_s = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, max(1, round(rate * seconds)))).tolist()
    target = urlsplit(url)
    request = (
        f"POST {target.path} HTTP/1.1\r\nHost: {target.netloc}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    with ExitStack() as connections:

        def connect() -> socket.socket:
            return connections.enter_context(socket.create_connection((str(target.hostname), target.port or 80)))

        return _press(connect, request, due_s)


def _press(connect: Callable[[], socket.socket], request: bytes, due_s: list[float]) -> list[float]:
    idle: list[socket.socket] = []
    busy: dict[socket.socket, tuple[float, bytes]] = {}  # when its request was due, and what has come of the answer
    latencies_ms = []
    sent = 0
    started = time.perf_counter()
    while sent < len(due_s) or busy:
        now_s = time.perf_counter() - started
        while sent < len(due_s) and due_s[sent] <= now_s:
            connection = idle.pop() if idle else connect()
            connection.sendall(request)
            busy[connection] = due_s[sent], b""
            sent += 1
        wait_s = max(0.0, due_s[sent] - now_s) if sent < len(due_s) else MOST_WAITING_S
        ready = select.select(list(busy), [], [], wait_s)[0]
        if not ready and sent == len(due_s):
            raise SystemExit(f"{len(busy)} requests got no answer in {MOST_WAITING_S:.0f} s")
        for connection in ready:
            due, answer = busy.pop(connection)
            answer += connection.recv(65536)
            if _is_complete(answer):
                latencies_ms.append(1e3 * (time.perf_counter() - started - due))
                idle.append(connection)
            else:
                busy[connection] = due, answer
    return latencies_ms


def _is_complete(answer: bytes) -> bool:
    """Whether all of an answer is there; SystemExit when it is not one of success."""
    if not b"HTTP/1.1 200 OK\r\n".startswith(answer[:17]):
        raise SystemExit(f"an answer that is not 200: {answer[:200]!r}")
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    length = _LENGTH.search(head + b"\r\n")
    return length is not None and len(body) >= int(length[1])
