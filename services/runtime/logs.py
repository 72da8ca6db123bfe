"""One log set-up for every process: JSON lines in a container, readable text on a terminal."""

import contextlib
import json
import logging
import re
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Literal, TextIO

import orjson

LogFormat = Literal["auto", "json", "text"]

_PIPE_BYTES = 4096  # PIPE_BUF: what a pipe takes at once is not mixed with what others write
_NEEDS_QUOTES = re.compile(r'[\s="]')

# Attributes every LogRecord has; any other attribute came in through `extra=` and is a field of the line.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def configure_logging(*, level: str = "INFO", log_format: LogFormat = "auto", stream: TextIO | None = None) -> None:
    """Send every logger to `stream` (stdout unless told), one line a record. Called once, in a `__main__`."""
    stream = stream or sys.stdout
    _collect_only_what_is_written()
    as_json = log_format == "json" or (log_format == "auto" and not stream.isatty())
    handler = LineHandler(stream, JsonFormatter() if as_json else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)


def _collect_only_what_is_written() -> None:
    """A call's place, thread and process are in no line; finding them is a third of a record's cost (logging HOWTO)."""
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes each record at once, and lines that are no records together: `add` them, `flush` a few times a second.

    A record first writes the lines added before it, so the order stays. Pieces of at most 4,096 bytes are written at
    once: that much a pipe takes as a whole, so lines of several processes never mix. On a full disk lines are dropped
    and counted; the next line that can be written says how many.
    """

    def __init__(self, stream: TextIO, formatter: "JsonFormatter | TextFormatter") -> None:
        super().__init__(stream)
        self.setFormatter(formatter)
        self._line_of = formatter.line
        self._waiting: list[tuple[float, str, str, Mapping[str, object]]] = []
        self._lost = 0

    def add(self, logger: str, message: str, fields: Mapping[str, object]) -> None:
        """A line of level INFO; it is written by the next `flush`."""
        self._waiting.append((time.time(), logger, message, fields))

    def emit(self, record: logging.LogRecord) -> None:
        """Write what waits, then the record."""
        self._write([*self._taken(), self.format(record)])

    def flush(self) -> None:
        """Write what waits."""
        with self.lock or contextlib.nullcontext():
            if self._waiting:
                self._write(self._taken())

    def _taken(self) -> list[str]:
        waiting, self._waiting = self._waiting, []
        return [self._line_of(created, "INFO", logger, text, fields) for created, logger, text, fields in waiting]

    def _write(self, lines: list[str]) -> None:
        if self._lost:
            lost = self._line_of(time.time(), "ERROR", __name__, "log lines were lost", {"lines": self._lost})
            lines = [lost, *lines]
        written = 0
        try:
            for piece, count in _pieces(lines):
                self.stream.write(piece)
                self.stream.flush()
                written += count
        except OSError:
            self._lost += len(lines) - written - (1 if self._lost else 0)
        else:
            self._lost = 0


def _pieces(lines: list[str]) -> Iterator[tuple[str, int]]:
    """Lines joined to pieces that a pipe takes as a whole, with the number of lines in each."""
    piece: list[str] = []
    size = 0
    for line in lines:
        length = len(line) + 1 if line.isascii() else len(line.encode("utf-8", "surrogateescape")) + 1
        if piece and size + length > _PIPE_BYTES:
            yield "".join(piece), len(piece)
            piece, size = [], 0
        piece.append(f"{line}\n")
        size += length
    if piece:
        yield "".join(piece), len(piece)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return self.line(record.created, record.levelname, record.name, record.getMessage(), fields)

    @staticmethod
    def line(created: float, level: str, logger: str, message: str, fields: Mapping[str, object]) -> str:
        """One line."""
        line = {
            "time": datetime.fromtimestamp(created, UTC),
            "level": level.lower(),
            "logger": logger,
            "message": message,
            **fields,
        }
        return orjson.dumps(line, default=str).decode()


class TextFormatter(logging.Formatter):
    """`12:04:31.220 INFO    gateway.routes  request  status=200 total_ms=1.9`; always one line."""

    def format(self, record: logging.LogRecord) -> str:
        text = self.line(record.created, record.levelname, record.name, record.getMessage(), _fields(record))
        if not record.exc_info:
            return text
        return "\n    ".join([text, *map(_printable, self.formatException(record.exc_info).splitlines())])

    @staticmethod
    def line(created: float, level: str, logger: str, message: str, fields: Mapping[str, object]) -> str:
        """One line."""
        clock = datetime.fromtimestamp(created).strftime("%H:%M:%S.%f")[:-3]
        said = "".join(f" {name}={_value(value)}" for name, value in fields.items())
        return f"{clock} {level:<7} {logger.removeprefix('services.')}  {_printable(message)}{said}"


def _printable(text: str) -> str:
    """Line ends and other control characters escaped, so that no text can pass for a line of its own."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _value(value: object) -> str:
    """A field's value; in quotes where it could pass for another field."""
    text = str(value)
    return text if text.isprintable() and not _NEEDS_QUOTES.search(text) else json.dumps(text)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}
