"""The review page's server: what it shows, what it stores, and whom it refuses."""

import http.client
import io
import json
import threading

import numpy as np
import pytest

from services.evaluator.corrections import export
from services.evaluator.corrections.__main__ import main
from services.evaluator.corrections.server import review_server
from services.runtime.captures import NO_DIGIT, CaptureStore
from tests.support.captured import capture


@pytest.fixture
def store(tmp_path):
    store = CaptureStore(tmp_path)
    store.add([capture("sure", confidence=0.9), capture("unsure", confidence=0.3)], now_s=1000)
    yield store
    store.close()


@pytest.fixture
def ask(store):
    server = review_server(store, 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def call(method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        data = json.dumps(body).encode() if body is not None else None
        headers = {
            "Content-Type": "application/json",
            **{name.replace("_", "-"): text for name, text in headers.items()},
        }
        connection.request(method, path, data, headers)
        response = connection.getresponse()
        found = response.status, response.read(), response.headers
        connection.close()
        return found

    yield call
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_most_doubtful_picture_is_shown_first(ask):
    status, body, _ = ask("GET", "/captures")
    found = json.loads(body)

    assert status == 200
    assert [each["request_id"] for each in found["captures"]] == ["unsure", "sure"]
    assert found["captures"][0]["picture"].startswith("data:image/png;base64,")
    assert (found["rows"], found["labelled"]) == (2, 0)


def test_a_label_is_stored_and_exported(ask):
    assert ask("POST", "/label", {"request_id": "unsure", "index": 0, "label": 7})[0] == 200
    assert ask("POST", "/label", {"request_id": "sure", "index": 0, "label": NO_DIGIT})[0] == 200
    status, body, headers = ask("GET", "/corrections.npz")

    assert status == 200
    assert "corrections.npz" in headers["Content-Disposition"]
    with np.load(io.BytesIO(body)) as file:
        assert file["y"].tolist() == [7]
        assert file["x"].shape == (1, 28, 28)
        assert file["no_digit"].shape == (1, 28, 28)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"request_id": "unsure", "index": 0, "label": 10}, 422),
        ({"request_id": "unsure", "index": 0}, 422),
        (["unsure", 0, 1], 422),
        ({"request_id": "unknown", "index": 0, "label": 1}, 404),
    ],
)
def test_wrong_labels_are_refused(ask, store, body, status):
    assert ask("POST", "/label", body)[0] == status
    assert store.counts() == (2, 0)


def test_a_form_of_another_site_changes_nothing(ask, store):
    label = {"request_id": "unsure", "index": 0, "label": 1}

    assert ask("POST", "/label", label, Content_Type="text/plain")[0] == 415
    assert store.counts() == (2, 0)


def test_a_foreign_host_name_is_refused(ask):
    assert ask("GET", "/captures", Host="evil.example:80")[0] == 421


def test_the_page_and_its_files_are_there(ask):
    assert [ask("GET", path)[0] for path in ("/", "/review.css", "/review.js", "/../server.py")] == [200, 200, 200, 404]


def test_the_digest_is_of_pictures_and_labels(store):
    store.label("sure", 0, 4)
    first, again = export.npz(store.labelled()), export.npz(store.labelled())
    store.label("sure", 0, 5)

    assert export.digest(first) == export.digest(again) != export.digest(export.npz(store.labelled()))


def test_export_and_erase_from_the_command_line(store, tmp_path, capsys):
    store.label("sure", 0, 4)

    assert main([str(tmp_path), "--export", str(tmp_path / "corrections.npz")]) == 0
    assert "1 labelled" in capsys.readouterr().out
    assert main([str(tmp_path), "--erase", "sure"]) == 0
    assert store.counts() == (1, 0)


def test_without_labels_there_is_nothing_to_export(store, tmp_path, capsys):
    assert main([str(tmp_path), "--export", str(tmp_path / "corrections.npz")]) == 2
    assert "no labelled pictures" in capsys.readouterr().err
    assert not (tmp_path / "corrections.npz").exists()


def test_a_folder_without_captures_is_named(tmp_path, capsys):
    (tmp_path / "empty").mkdir()

    assert main([str(tmp_path / "empty")]) != 0
    assert "CAPTURE_DIR" in capsys.readouterr().err


def test_a_port_that_is_none_is_a_wrong_argument(store, tmp_path, capsys):
    with pytest.raises(SystemExit) as refusal:
        main([str(tmp_path), "--port", "65536"])

    assert refusal.value.code == 2
    assert "65536 is not a port: a number from 0 to 65535" in capsys.readouterr().err
