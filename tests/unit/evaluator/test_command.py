"""Arguments that the evaluator's commands share, refused before they ask anything."""

import os
import subprocess
import sys

import pytest

from services.evaluator import __main__ as evaluate
from services.evaluator import compare_versions, read


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://digits.example", ""])
def test_an_address_without_http_is_refused_with_what_it_lacks(url, capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        read.main([str(tmp_path), "--url", url])

    assert ended.value.code == 2
    assert f"{url!r} is not an address" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        (evaluate.main, ["--seed", "-1"]),
        (evaluate.main, ["--lines", "-1"]),
        (compare_versions.main, ["stable", "canary", "--seed", "-1"]),
    ],
)
def test_what_is_below_nothing_is_a_wrong_argument(main, arguments, capsys):
    with pytest.raises(SystemExit) as refusal:
        main(arguments)

    assert refusal.value.code == 2
    assert "-1 is below 0" in capsys.readouterr().err


def test_a_reader_that_stops_reading_is_no_traceback():
    """As in `make evaluate | head`."""
    code = """
from services.evaluator import command
def work(arguments, config):
    print("a line")
    return 0
raise SystemExit(command.run(work, lambda parser, config: None, module="tests", about="", argv=[]))
"""
    reader, writer = os.pipe()
    os.close(reader)
    finished = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)

    assert (finished.returncode, finished.stderr) == (141, "")
