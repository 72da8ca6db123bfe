"""The thread pool and the socket behind the REST interface: waitress, bounded, with time limits, drained at the end."""

import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import waitress

from services.core.errors import ConfigError
from services.model_server.config import CPUS, MAX_MESSAGE_BYTES, ServerConfig

_IDLE_S = 30  # a connection that says nothing for this long is closed
_BACKLOG = 1024
_LEAVING = b'{"error": "the server is shutting down"}\n'

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class RestServer:
    """Bound when made, serving from `start`, gone after `stop`."""

    def __init__(self, config: ServerConfig, app: WsgiApp) -> None:
        try:
            family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
            listener = socket.create_server((config.host, config.rest_api_port), family=family, backlog=_BACKLOG)
        except OSError as exc:
            raise ConfigError(
                f"cannot listen for REST on {config.host}:{config.rest_api_port}: {exc.strerror}"
            ) from exc
        self.port: int = listener.getsockname()[1]
        self._app = app
        self._calls = threading.Condition()
        self._in_progress = 0
        self._leaving = False
        self._server = waitress.create_server(
            self._serve,
            sockets=[listener],
            threads=config.rest_api_num_threads or 4 * CPUS,
            connection_limit=1000,
            backlog=_BACKLOG,
            channel_timeout=_IDLE_S,
            max_request_body_size=MAX_MESSAGE_BYTES,
            inbuf_overflow=MAX_MESSAGE_BYTES,  # bodies stay in memory, they are bounded
            outbuf_overflow=4 * MAX_MESSAGE_BYTES,
            asyncore_use_poll=True,
            ident="ClearDigits",
        )
        self._thread = threading.Thread(target=self._server.run, name="rest", daemon=True)

    def start(self) -> None:
        """Serve in a thread of its own."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Refuse new calls; give those in progress, and their answers' way out, `timeout_s`. True when all went out."""
        deadline = time.monotonic() + timeout_s
        with self._calls:
            self._leaving = True
            done = self._calls.wait_for(lambda: not self._in_progress, timeout_s)
        self._server.task_dispatcher.shutdown(timeout=max(0.1, deadline - time.monotonic()) if done else 0.1)
        while time.monotonic() < deadline and self._unsent():
            time.sleep(0.005)
        self._server.close()
        return done

    def _unsent(self) -> bool:
        return any(channel.total_outbufs_len for channel in list(self._server.active_channels.values()))

    def _serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with self._calls:
            if self._leaving:
                start_response(
                    "503 Service Unavailable", [("Content-Type", "application/json"), ("Connection", "close")]
                )
                return [_LEAVING]
            self._in_progress += 1
        try:
            return self._app(environ, start_response)
        finally:
            with self._calls:
                self._in_progress -= 1
                self._calls.notify_all()
