"""Log lines: JSON where a machine reads, text where a person does."""

import io
import json
import logging

import pytest

from services.runtime.logs import configure_logging


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
