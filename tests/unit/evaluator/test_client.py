"""The evaluator's client against a server of a few lines: what is sent, retried and counted."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from services.evaluator.client import GatewayClient
from services.evaluator.errors import GatewayError


@pytest.fixture
def server():
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        statuses: ClassVar[list[int]] = []
        seen: ClassVar[list[tuple[str, str, bytes]]] = []

        def do_GET(self):
            self._answer()

        do_POST = do_GET

        def _answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.seen.append((self.command, self.path, body))
            self.send_response(self.statuses.pop(0) if self.statuses else 200)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        listening.url = f"http://127.0.0.1:{listening.server_port}"
        listening.handler = Handler
        yield listening
        listening.shutdown()
        thread.join()


def test_a_patient_client_sends_again_what_was_refused(server):
    server.handler.statuses = [503, 429]
    client = GatewayClient(server.url)

    assert client.exchange(b"picture", "image/png", denoise="auto").status == 200
    assert client.retries == 2
    assert server.handler.seen == [("POST", "/v1/recognize?denoise=auto", b"picture")] * 3


def test_an_impatient_client_takes_every_answer_as_it_comes(server):
    server.handler.statuses = [503]
    client = GatewayClient(server.url).impatient()

    assert client.exchange(b"picture", "image/png").status == 503
    assert client.retries == 0


def test_the_floor_asks_for_nothing_to_be_computed(server):
    exchange = GatewayClient(server.url).floor()

    assert server.handler.seen == [("GET", "/healthz", b"")]
    assert exchange.elapsed_ms > 0


def test_a_gateway_that_is_not_there_is_named():
    with pytest.raises(GatewayError, match="make up"):
        GatewayClient("http://127.0.0.1:9", timeout_s=1).require_ready()
