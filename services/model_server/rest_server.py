"""The thread pool and the socket behind the REST interface: waitress, bounded, with time limits."""

import threading

import waitress
from waitress.server import BaseWSGIServer

from services.core.errors import ConfigError
from services.model_server.config import CPUS, MAX_MESSAGE_BYTES, ServerConfig
from services.model_server.rest import RestApi

_IDLE_S = 30  # a connection that says nothing for this long is closed


class RestServer:
    """Bound when made, serving from `start`, gone after `stop`."""

    def __init__(self, config: ServerConfig, api: RestApi) -> None:
        try:
            self._server: BaseWSGIServer = waitress.create_server(
                api,
                host=config.host,
                port=config.rest_api_port,
                threads=config.rest_api_num_threads or 4 * CPUS,
                connection_limit=1000,
                backlog=1024,
                channel_timeout=_IDLE_S,
                max_request_body_size=MAX_MESSAGE_BYTES,
                inbuf_overflow=MAX_MESSAGE_BYTES,  # bodies stay in memory, they are bounded
                outbuf_overflow=4 * MAX_MESSAGE_BYTES,
                asyncore_use_poll=True,
                ident="ClearDigits",
            )
        except OSError as exc:
            raise ConfigError(
                f"cannot listen for REST on {config.host}:{config.rest_api_port}: {exc.strerror}"
            ) from exc
        self._thread = threading.Thread(target=self._server.run, name="rest", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.effective_port)

    def start(self) -> None:
        """Serve in a thread of its own."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Take no new calls; give those in progress `timeout_s`."""
        self._server.task_dispatcher.shutdown(cancel_pending=False, timeout=timeout_s)
        self._server.close()
