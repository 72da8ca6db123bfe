"""The thread that follows the disk: new versions, failed loads due again, a changed configuration file."""

import logging
import threading
import time

from services.core.errors import ConfigError, ServiceError
from services.model_server.config import ServerConfig
from services.model_server.versions.repository import ModelRepository

log = logging.getLogger(__name__)

_NEVER = float("inf")


class Watcher:
    """Wakes when something is due, and does it."""

    def __init__(self, config: ServerConfig, models: ModelRepository) -> None:
        self._config = config
        self._models = models
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin watching."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; a load in progress is not waited for."""
        self._stop.set()

    def _run(self) -> None:
        scan_every = _interval(self._config.file_system_poll_wait_seconds)
        read_every = _interval(
            self._config.model_config_file_poll_wait_seconds if self._config.model_config_file else 0
        )
        now = time.monotonic()
        scan_at, read_at = now + scan_every, now + read_every
        while True:
            retry_at = self._models.next_retry_at()
            wake_at = min(scan_at, read_at, _NEVER if retry_at is None else retry_at)
            if self._stop.wait(None if wake_at == _NEVER else max(0.0, wake_at - time.monotonic())):
                return
            now = time.monotonic()
            if now >= read_at:
                self._read_config()
                read_at = now + read_every
            scan = now >= scan_at
            if scan:
                scan_at = now + scan_every
            self._models.reconcile(scan=scan)

    def _read_config(self) -> None:
        try:
            config = self._config.model_server_config()
            if config != self._models.config:  # also where HandleReloadConfigRequest has set another one meanwhile
                self._models.apply(config)
        except (ConfigError, ServiceError) as exc:
            log.error("configuration file not applied", extra={"error": str(exc)})


def _interval(seconds: int) -> float:
    """Zero and less mean never again."""
    return seconds if seconds > 0 else _NEVER
