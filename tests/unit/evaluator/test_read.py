"""A folder of pictures into CSV: a row for every picture, also for one that failed."""

import csv
import io
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from services.core.images import encode_png
from services.evaluator import read
from services.gateway.messages import line_options


class Numbers:
    """A gateway that reads a picture's first pixel, and what it should do wrong."""

    def __init__(self):
        self.queries: list[str] = []
        self.fails: dict[int, int] = {}  # first pixel -> status
        self.stop_after: int | None = None


@pytest.fixture
def gateway(monkeypatch):
    numbers = Numbers()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self._send(200, {"ready": True})

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            numbers.queries.append(self.path)
            if numbers.stop_after is not None and len(numbers.queries) > numbers.stop_after:
                return self._send(401, {"title": "Unauthorized", "detail": "no key"})
            pixel = int(cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_GRAYSCALE)[0, 0])
            if pixel in numbers.fails:
                return self._send(numbers.fails[pixel], {"title": "Invalid input", "detail": "two\nlines"})
            rivals = [{"number": number, "probability": 0.1} for number in "12"]
            result = {"number": f"{pixel:03d}", "confidence": 0.98765, "accepted": pixel < 200, "alternatives": rivals}
            return self._send(200, {"results": [result], "timings_ms": {"total": 1}})

        def _send(self, status, document):
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("CLEARDIGITS_EVALUATOR_URL", f"http://127.0.0.1:{server.server_port}")
    yield numbers
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def folder(tmp_path):
    scans = tmp_path / "scans"
    (scans / "more").mkdir(parents=True)
    for place, name in enumerate(("a.png", "b.PNG", "more/c.png", "z.png")):
        (scans / name).write_bytes(encode_png(np.full((28, 60, 1), (place + 1) / 255, np.float32)))
    (scans / "notes.txt").write_text("no picture")
    return scans


def _rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_picture_of_a_folder_gets_a_row_in_order(gateway, folder, tmp_path):
    out = tmp_path / "numbers.csv"

    assert read.main([str(folder), "--out", str(out), "--length", "3", "--min-confidence", "0.5"]) == 0

    rows = _rows(out)
    assert [row["file"] for row in rows] == ["a.png", "b.PNG", "more/c.png", "z.png"]
    assert [row["number"] for row in rows] == ["001", "002", "003", "004"], "leading zeros are kept"
    assert rows[0] == {"file": "a.png", "number": "001", "confidence": "0.9877", "accepted": "yes",
                       "alternatives": "1 2", "error": ""}  # fmt: skip
    assert "length=3" in gateway.queries[0]
    assert "min_confidence=0.5" in gateway.queries[0]


def test_a_picture_that_is_refused_has_a_row_that_says_why(gateway, folder, tmp_path):
    gateway.fails = {2: 422}

    assert read.main([str(folder), "--out", str(tmp_path / "numbers.csv")]) == 0

    rows = _rows(tmp_path / "numbers.csv")
    assert len(rows) == 4
    assert rows[1]["number"] == ""
    assert rows[1]["error"] == "422 Invalid input: two lines"


def test_the_same_command_goes_on_and_tries_again_what_failed(gateway, folder, tmp_path):
    out = tmp_path / "numbers.csv"
    gateway.fails = {2: 422}
    read.main([str(folder), "--out", str(out)])
    with out.open("a") as file:
        file.write("z2.png,12")  # the process ended in the middle of a row
    gateway.queries.clear()
    gateway.fails = {}

    assert read.main([str(folder), "--out", str(out)]) == 0

    assert len(gateway.queries) == 1
    assert sorted(row["file"] for row in _rows(out)) == ["a.png", "b.PNG", "more/c.png", "z.png"]
    assert not any(row["error"] for row in _rows(out))


def test_a_gateway_that_refuses_everybody_ends_the_run_with_the_rows_kept(gateway, folder, tmp_path, capsys):
    gateway.stop_after = 2

    assert read.main([str(folder), "--out", str(tmp_path / "numbers.csv"), "--in-flight", "1"]) == 3

    assert "401" in capsys.readouterr().err
    assert [row["file"] for row in _rows(tmp_path / "numbers.csv")] == ["a.png", "b.PNG"]


def test_a_list_of_files_comes_on_standard_input(gateway, folder, tmp_path, monkeypatch):
    listed = f"{folder}/z.png\n\n{folder}/gone.png\n{folder}/notes.txt\n{folder}/z.png\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(listed.encode())))

    assert read.main(["-", "--out", str(tmp_path / "numbers.csv")]) == 0

    rows = _rows(tmp_path / "numbers.csv")
    assert [row["number"] for row in rows] == ["004", "", ""]
    assert rows[1]["error"] == "No such file or directory"
    assert "not a picture" in rows[2]["error"]


@pytest.mark.parametrize("content", ["something,else\n", "file\n"])
def test_a_file_that_is_something_else_is_left_alone(gateway, folder, tmp_path, content):
    out = tmp_path / "numbers.csv"
    out.write_text(content)

    assert read.main([str(folder), "--out", str(out)]) == 2
    assert out.read_text() == content


def test_a_folder_without_pictures_is_said_to_be(gateway, tmp_path, capsys):
    assert read.main([str(tmp_path)]) == 2
    assert "no pictures" in capsys.readouterr().err


@pytest.mark.parametrize("listed", [False, True])
def test_names_that_are_not_utf_8_pass_through_the_csv(gateway, folder, tmp_path, monkeypatch, capsys, listed):
    path = os.fsencode(folder / "f\udcfcnf.png")  # f, 0xFC, nf: Latin-1
    (folder / "a.png").rename(os.fsdecode(path))
    name, out = path if listed else b"f\xfcnf.png", tmp_path / "numbers.csv"
    for _ in range(2):  # again: the row is found and kept
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(path + b"\n"), encoding="utf-8"))
        assert read.main(["-" if listed else str(folder), "--out", str(out)]) == 0

    assert name + b",001," in out.read_bytes()
    assert "were there already" in capsys.readouterr().out


def test_an_output_that_cannot_be_rewritten_is_one_line(gateway, folder, tmp_path, capsys):
    out = tmp_path / "numbers.csv"
    assert read.main([str(folder), "--out", str(out)]) == 0
    (tmp_path / "numbers.csv.part").mkdir()

    assert read.main([str(folder), "--out", str(out)]) == 2
    assert capsys.readouterr().err.endswith(f"cannot write {out}: Is a directory\n")


@pytest.mark.parametrize(
    "arguments", [["--length=x"], ["--length=8-3"], ["--length=41"], ["--min-confidence=5"], ["--min-confidence=nan"]]
)
def test_an_option_that_every_picture_would_be_refused_for_is_refused_at_once(gateway, folder, tmp_path, arguments):
    with pytest.raises(SystemExit) as ended:
        read.main([str(folder), "--out", str(tmp_path / "numbers.csv"), *arguments])

    assert ended.value.code == 2
    assert not gateway.queries


def test_no_folder_does_not_mean_this_one(gateway, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as ended:
        read.main([""])

    assert ended.value.code == 2
    assert "no folder is named" in capsys.readouterr().err


def test_a_number_is_as_long_as_the_gateway_allows():
    assert read.MOST_DIGITS == line_options.MOST_DIGITS
