"""Log lines: JSON where a machine reads, text where a person does."""

import io
import json
import logging

import pytest

from services.runtime.logs import LineHandler, configure_logging


@pytest.fixture(autouse=True)
def _restore_root_logger():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_json_line_carries_the_fields_of_the_record():
    stream = io.StringIO()
    configure_logging(log_format="json", stream=stream)

    logging.getLogger("services.gateway").info("request", extra={"status": 200, "total_ms": 1.5})

    line = json.loads(stream.getvalue())
    assert (line["message"], line["status"], line["total_ms"], line["level"]) == ("request", 200, 1.5, "info")


def test_a_text_line_reads_from_left_to_right():
    stream = io.StringIO()
    configure_logging(log_format="text", stream=stream)

    logging.getLogger("services.gateway").info("request", extra={"status": 200})

    assert stream.getvalue().rstrip().endswith("INFO    gateway  request status=200")


def test_an_exception_stays_on_its_json_line():
    stream = io.StringIO()
    configure_logging(log_format="json", stream=stream)

    try:
        raise RuntimeError("boom")
    except RuntimeError:
        logging.getLogger("x").exception("failed")

    assert "RuntimeError: boom" in json.loads(stream.getvalue())["exception"]


def test_a_pipe_gets_json_unless_told_otherwise():
    stream = io.StringIO()
    configure_logging(stream=stream)

    logging.getLogger("x").warning("hello")

    assert json.loads(stream.getvalue())["message"] == "hello"


def handler_of(stream: io.StringIO, log_format: str = "json") -> LineHandler:
    configure_logging(log_format=log_format, stream=stream)
    [handler] = logging.getLogger().handlers
    assert isinstance(handler, LineHandler)
    return handler


class Writes(io.StringIO):
    """Remembers every write; fails while the disk is full."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self.full = False

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        self.pieces.append(text)
        return super().write(text)


def test_added_lines_are_written_together_and_look_like_records():
    stream = Writes()
    handler = handler_of(stream)
    logging.getLogger("a").info("request", extra={"status": 200})
    for status in (201, 202):
        handler.add("a", "request", {"status": status})
    assert len(stream.pieces) == 1
    handler.flush()

    record, *added = (json.loads(line) for line in stream.getvalue().splitlines())
    assert len(stream.pieces) == 2
    assert [line["status"] for line in added] == [201, 202]
    assert [list(line) for line in added] == [list(record)] * 2
    assert {line["level"] for line in added} == {"info"}


def test_a_record_writes_the_lines_before_it_first():
    stream = Writes()
    handler = handler_of(stream)
    handler.add("a", "first", {})
    logging.getLogger("b").warning("second")
    handler.add("a", "third", {})
    handler.flush()

    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["first", "second", "third"]


def test_pieces_are_whole_lines_that_a_pipe_takes_at_once():
    stream = Writes()
    handler = handler_of(stream)
    for number in range(100):
        handler.add("a", "request", {"number": number, "path": "\u00e9" * 60})
    handler.flush()

    assert 1 < len(stream.pieces) < 30
    assert all(len(piece.encode()) <= 4096 and piece.endswith("\n") for piece in stream.pieces)
    assert [json.loads(line)["number"] for line in stream.getvalue().splitlines()] == list(range(100))


def test_a_full_disk_costs_lines_and_says_how_many():
    stream = Writes()
    handler = handler_of(stream)
    stream.full = True
    handler.add("a", "request", {})
    handler.flush()
    logging.getLogger("b").warning("also lost")
    stream.full = False
    logging.getLogger("b").warning("kept")

    lost, kept = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (lost["message"], lost["lines"], kept["message"]) == ("log lines were lost", 2, "kept")


@pytest.mark.parametrize("forged", ["/x\n12:00:00.000 INFO    gateway  request status=200", "/x\x1b[2J", "/x\r\u2028y"])
def test_a_text_line_cannot_be_forged(forged):
    """`%0a` and escapes in a path made lines of their own."""
    stream = io.StringIO()
    configure_logging(log_format="text", stream=stream)

    logging.getLogger("a").info("request", extra={"path": forged})
    logging.getLogger("a").info(forged)

    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)


def test_a_field_of_a_text_line_cannot_pass_for_two():
    stream = io.StringIO()
    configure_logging(log_format="text", stream=stream)

    logging.getLogger("a").info("request", extra={"path": "/x status=200"})

    assert stream.getvalue().rstrip().endswith('path="/x status=200"')


def test_an_exceptions_text_cannot_pass_for_a_line():
    stream = io.StringIO()
    configure_logging(log_format="text", stream=stream)

    try:
        raise RuntimeError("boom\n12:00:00.000 INFO    gateway  forged")
    except RuntimeError:
        logging.getLogger("a").exception("failed")

    first, *rest = stream.getvalue().splitlines()
    assert "failed" in first
    assert all(line.startswith("    ") for line in rest)
