"""A line for each request, written together with others: one write for each cost a tenth of the request."""

import asyncio
import logging

from services.runtime.logs import LineHandler

log = logging.getLogger("cleardigits.access")

_FLUSH_S = 0.25


class AccessLog:
    """Lines go to the process's handler without a LogRecord each; where others set up logging they are records."""

    def __init__(self) -> None:
        self._handler = next((each for each in logging.getLogger().handlers if isinstance(each, LineHandler)), None)
        self._flushing: asyncio.TimerHandle | None = None

    def write(self, fields: dict[str, object], *, quiet: bool = False) -> None:
        """One request's line; a quiet one is for DEBUG."""
        if self._handler is None or quiet:
            log.log(logging.DEBUG if quiet else logging.INFO, "request", extra=fields)
        elif log.isEnabledFor(logging.INFO):
            self._handler.add(log.name, "request", fields)
            if self._flushing is None:
                self._flush_soon()

    def flush(self) -> None:
        """Write what waits; the last thing a worker does."""
        self._flushing = None
        if self._handler is not None:
            self._handler.flush()

    def _flush_soon(self) -> None:
        try:
            self._flushing = asyncio.get_running_loop().call_later(_FLUSH_S, self.flush)
        except RuntimeError:  # a thread of a WSGI server
            self.flush()
