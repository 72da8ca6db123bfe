"""The review page's server: loopback only, one person, the store behind it.

Labels change data, so a POST must be JSON (a form on another site cannot send that) and every request must name this
machine as its host (a foreign name that was made to point here is refused).
"""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from services.core.images import encode_png
from services.evaluator.corrections import export
from services.runtime.captures import NO_DIGIT, Capture, CaptureStore

AT_ONCE = 50
LONGEST_BODY = 1000
_FILES = {
    "/": ("review.html", "text/html; charset=utf-8"),
    "/review.css": ("review.css", "text/css"),
    "/review.js": ("review.js", "text/javascript"),
}
_HERE = Path(__file__).parent
_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'"


def review_server(store: CaptureStore, port: int) -> ThreadingHTTPServer:
    """A server that is not serving yet; port 0 takes a free one."""
    server = ThreadingHTTPServer(("127.0.0.1", port), _handler(store))
    server.daemon_threads = True
    return server


def described(capture: Capture) -> dict[str, object]:
    """What the page shows of a capture."""
    png = encode_png(capture.pixels[..., np.newaxis] / np.float32(255))
    return {
        "request_id": capture.request_id,
        "index": capture.position,
        "picture": f"data:image/png;base64,{base64.b64encode(png).decode()}",
        "digit": capture.digit,
        "confidence": capture.confidence,
        "is_digit": capture.is_digit,
        "label": capture.label,
    }


def _handler(store: CaptureStore) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self._is_local():
                self._answer(self._get)

        def do_POST(self) -> None:
            if self._is_local():
                self._answer(self._post)

        def _answer(self, operation: Callable[[], None]) -> None:
            try:
                operation()
            except sqlite3.Error as exc:
                self._send_json(
                    {"error": f"the captures cannot be used right now: {exc}"}, HTTPStatus.SERVICE_UNAVAILABLE
                )

        def _get(self) -> None:
            if self.path in _FILES:
                name, content_type = _FILES[self.path]
                self._send((_HERE / name).read_bytes(), content_type)
            elif self.path == "/captures":
                rows, labelled = store.counts()
                found = [described(capture) for capture in store.doubtful(AT_ONCE)]
                self._send_json({"captures": found, "rows": rows, "labelled": labelled})
            elif self.path == "/corrections.npz":
                self._send(export.npz(store.labelled()), "application/octet-stream", download="corrections.npz")
            else:
                self._send_json({"error": "there is no such page"}, HTTPStatus.NOT_FOUND)

        def _post(self) -> None:
            length = self.headers.get("Content-Length", "")
            if self.headers.get_content_type() != "application/json" or not length.isdigit():
                self._send_json({"error": "labels are sent as JSON"}, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
                return
            if self.path != "/label" or int(length) > LONGEST_BODY:
                self._send_json({"error": "there is no such page, or the body is too large"}, HTTPStatus.NOT_FOUND)
                return
            try:
                body = json.loads(self.rfile.read(int(length)))
                request_id, position, label = str(body["request_id"]), int(body["index"]), int(body["label"])
            except (ValueError, KeyError, TypeError) as exc:
                self._send_json({"error": f"not a label: {exc}"}, HTTPStatus.UNPROCESSABLE_ENTITY)
                return
            if label not in range(NO_DIGIT, 10):
                self._send_json({"error": f"a label is 0 to 9, or {NO_DIGIT}"}, HTTPStatus.UNPROCESSABLE_ENTITY)
            elif store.label(request_id, position, label):
                self._send_json({"labelled": store.counts()[1]})
            else:
                self._send_json({"error": "this picture is not kept any more"}, HTTPStatus.NOT_FOUND)

        def _is_local(self) -> bool:
            host = self.headers.get("Host", "").rpartition(":")[0]
            if host not in ("127.0.0.1", "localhost"):
                self.close_connection = True
                self._send_json({"error": "ask for 127.0.0.1"}, HTTPStatus.MISDIRECTED_REQUEST)
                return False
            return True

        def _send_json(self, value: object, status: HTTPStatus = HTTPStatus.OK) -> None:
            self._send(json.dumps(value).encode(), "application/json", status=status)

        def _send(
            self, body: bytes, content_type: str, *, status: HTTPStatus = HTTPStatus.OK, download: str = ""
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", _POLICY)
            self.send_header("Cache-Control", "no-store")
            if download:
                self.send_header("Content-Disposition", f'attachment; filename="{download}"')
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Labels are not logged."""

    return Handler
