"""One loaded model version: its signatures, its engine, and who is using it right now."""

import threading
from collections.abc import Callable
from pathlib import Path

from services.model_server.engines.base import Engine
from services.model_server.signatures import from_definition


class Servable:
    """Requests enter and leave; once retired it refuses new ones, and `on_idle` runs when the last has left."""

    def __init__(self, name: str, version: int, path: Path, engine: Engine) -> None:
        self.name = name
        self.version = version
        self.path = path
        self.engine = engine
        self.signatures = {key: from_definition(key, d) for key, d in engine.definitions.items()}
        self._lock = threading.Lock()
        self._users = 0
        self._on_idle: Callable[[], None] | None = None

    def enter(self) -> bool:
        """Take a place; False when this version is on its way out."""
        with self._lock:
            if self._on_idle is not None:
                return False
            self._users += 1
            return True

    def leave(self) -> None:
        """Give the place back."""
        with self._lock:
            self._users -= 1
            idle = self._on_idle if self._users == 0 else None
        if idle is not None:
            idle()

    def retire(self, on_idle: Callable[[], None]) -> None:
        """Refuse new requests; call `on_idle` as soon as none is running."""
        with self._lock:
            self._on_idle = on_idle
            idle = on_idle if self._users == 0 else None
        if idle is not None:
            idle()

    def __enter__(self) -> "Servable":
        return self  # the caller that handed this out has counted it

    def __exit__(self, *exc_info: object) -> None:
        self.leave()
