"""The loop of corrections through a running gateway: captured, labelled over HTTP, exported."""

import numpy as np
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from services.evaluator.corrections.__main__ import main as corrections
from services.runtime.captures import CaptureStore
from tests.support.stack import ROOT, running_stack

PICTURE = (ROOT / "docs/samples/noisy-7.png").read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("captures") / "kept"


@pytest.fixture(scope="module")
def url(folder):
    settings = {"CAPTURE_DIR": str(folder), "CAPTURE_SHARE": "0", "MIN_CONFIDENCE": "1", "WORKERS": "2"}
    with running_stack(gateway=settings) as stack:
        yield stack.url


def recognized(url):
    answer = requests.post(
        f"{url}/v1/recognize", data=PICTURE, headers={"Content-Type": "image/png", "Connection": "close"}, timeout=10
    )
    assert answer.status_code == 200
    return answer.json()


def feedback(url, **body):
    return requests.post(f"{url}/v1/feedback", json=body, timeout=10)


def test_a_rejected_picture_is_kept_labelled_and_exported(url, folder, tmp_path):
    request_id = recognized(url)["request_id"]
    answers = [feedback(url, request_id=request_id, index=0, label=label) for label in (1, 7, 7)]
    exported = tmp_path / "corrections.npz"

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert answers[-1].json() == {"request_id": request_id, "index": 0, "label": 7}
    assert corrections([str(folder), "--export", str(exported)]) == 0
    with np.load(exported) as file:
        assert file["y"].tolist() == [7]
        assert file["x"].shape == (1, 28, 28)


def test_what_was_not_kept_is_a_404_problem(url):
    answer = feedback(url, request_id="unknown", index=0, label=7)

    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "was not kept" in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        {"request_id": "r", "index": 0, "label": 10},
        {"request_id": "r", "index": 0, "label": True},
        {"request_id": "r", "index": -1, "label": 1},
        {"request_id": "r", "index": 2**70, "label": 1},
        {"request_id": 7, "index": 0, "label": 1},
        {"request_id": "r", "index": 0},
        {"request_id": "r", "index": 0, "label": 1, "more": 1},
        ["r", 0, 1],
    ],
)
def test_wrong_feedback_is_invalid_input(url, body):
    assert requests.post(f"{url}/v1/feedback", json=body, timeout=10).status_code == 422


def test_an_erased_request_cannot_be_labelled(url, folder, capsys):
    request_id = recognized(url)["request_id"]
    assert feedback(url, request_id=request_id, index=0, label=None).status_code == 200
    assert corrections([str(folder), "--erase", request_id]) == 0

    assert feedback(url, request_id=request_id, index=0, label=7).status_code == 404


def test_quality_and_captures_are_counted(url):
    recognized(url)
    metrics = requests.get(f"{url}/metrics", timeout=10).text

    assert 'cleardigits_certainty_count{accepted="no"' in metrics
    assert 'cleardigits_captures_total{outcome="kept"}' in metrics


def test_confidences_add_up_over_both_workers(url):
    """The estimated accuracy is their sum through their count, whichever worker answered."""

    def observed():
        page = requests.get(f"{url}/metrics", timeout=10).text
        samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
        return [
            sum(s.value for s in samples if s.name == f"cleardigits_confidence_{part}") for part in ("count", "sum")
        ]

    before = observed()
    confidences = [recognized(url)["results"][0]["confidence"] for _ in range(12)]
    after = observed()

    assert after[0] - before[0] == 12
    assert after[1] - before[1] == pytest.approx(sum(confidences), abs=1e-3)


def test_without_a_folder_nothing_is_kept():
    with running_stack() as stack:
        answer = feedback(stack.url, request_id=recognized(stack.url)["request_id"], index=0, label=7)

        assert answer.status_code == 404
        assert "CAPTURE_DIR" in answer.json()["detail"]


def test_a_locked_file_never_reaches_who_asks_for_digits(url, folder):
    """Another process holds the write lock for longer than captures wait: pictures are read as ever."""
    store = CaptureStore(folder)
    store._database.execute("BEGIN IMMEDIATE")
    try:
        answers = [recognized(url) for _ in range(20)]
    finally:
        store._database.execute("ROLLBACK")
        store.close()

    assert {answer["results"][0]["digit"] for answer in answers} == {7}
    assert max(answer["timings_ms"]["total"] for answer in answers) < 1000
