"""The open-loop client keeps to its schedule, also when the server is late."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.bench.peers.open_loop import press_open


@contextmanager
def server(status: int = 200, pause_s: float = 0.0) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(pause_s)
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *arguments: object) -> None:
            """A client that has hung up."""

        request_queue_size = 128  # of connections that wait: beyond 5, by default, they are tried again after a second

    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/v1/recognize"
        running.shutdown()
        thread.join()


def press(url: str) -> list[float]:
    return press_open(url, rate=100, seconds=0.3, body=b"x", content_type="image/png", seed=1)


def test_requests_do_not_wait_for_the_answers_before_them():
    with server(pause_s=0.1) as url:
        latencies_ms = press(url)

    assert len(latencies_ms) == 30
    assert min(latencies_ms) >= 100
    assert sorted(latencies_ms)[15] < 300  # one after the other the middle one would wait for a second and more


def test_an_answer_that_is_no_success_ends_the_measurement():
    with server(status=503) as url, pytest.raises(SystemExit, match="not 200"):
        press(url)
