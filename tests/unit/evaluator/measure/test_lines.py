"""Lines of digits: made the same for the same seed, counted, told in tables."""

import json

import cv2
import numpy as np
import pytest

from services.core.model_digest import stamps
from services.evaluator.client import TimedAnswer
from services.evaluator.data import lines as data
from services.evaluator.data.dataset import Dataset
from services.evaluator.data.lines import LineRecipe
from services.evaluator.errors import DatasetError, GatewayError
from services.evaluator.measure import lines
from services.evaluator.measure.lines import LineCondition, LineRead, cell, edit_distance
from services.evaluator.progress import Progress
from services.evaluator.report import lines as report


@pytest.fixture(scope="module")
def bars():
    """Digits that are bars, with labels 0 to 9."""
    images = np.zeros((10, 28, 28, 1), np.float32)
    for digit in range(10):
        images[digit, 4:24, 10 : 13 + digit // 2] = 1
    return Dataset("bars", images, np.arange(10), "")


class FakeClient:
    """Answers every line with the same number."""

    def __init__(self, number="40718", confidence=0.9, status=200):
        self.answer = {"number": number, "confidence": confidence, "accepted": confidence >= 0.5, "alternatives": []}
        self.status = status
        self.asked: list[dict[str, str]] = []

    def read_line(self, body, content_type, **query):
        self.asked.append(query | {"type": content_type})
        document = {"results": [self.answer], "timings_ms": {"total": 1}}
        return TimedAnswer(self.status, json.dumps(document).encode(), 2.0, len(body), 10)

    exchange = read_line

    def impatient(self):
        return self


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        ("", "", 0),
        ("407", "407", 0),
        ("407", "417", 1),
        ("407", "4077", 1),
        ("407", "07", 1),
        ("", "12", 2),
        ("12", "21", 2),
    ],
)
def test_edit_distance(one, other, distance):
    assert edit_distance(one, other) == distance
    assert edit_distance(other, one) == distance


def test_a_cell_counts_whole_numbers_digits_counts_and_what_was_accepted():
    reads = [
        LineRead("407", 0.9, True),
        LineRead("417", 0.8, True),
        LineRead("47", 0.3, False),
        LineRead("", 0.0, False),
    ]

    counted = cell(LineCondition("gaps"), "always", ["407"] * 4, reads)

    assert (counted.lines, counted.whole, counted.accuracy) == (4, 1, 0.25)
    assert (counted.digits, counted.digit_errors, counted.count_errors) == (12, 1 + 1 + 3, 2)
    assert (counted.accepted, counted.accepted_wrong) == (2, 1)
    assert counted.low < 0.25 < counted.high
    assert counted.error_at_read[0] == (1.0, 0.75)
    assert counted.error_at_read[-1] == (0.5, 0.5)


def test_lines_are_the_same_for_the_same_seed(bars):
    condition = LineCondition("gaps", "gaussian", 0.5)

    first, again, other = (lines.made(condition, bars, 3, seed) for seed in (1, 1, 2))

    assert first == again
    assert first != other
    assert all(len(number) == 5 for _, number in first)


@pytest.mark.parametrize("form", lines.RECIPES)
def test_every_kind_of_line_is_a_picture_with_ink(form, bars):
    for line in data.make(lines.RECIPES[form], bars.images, bars.labels, 5, np.random.default_rng(1)):
        assert line.picture.dtype == np.float32
        assert line.picture.min() >= 0
        assert 0.9 < line.picture.max() <= 1
        assert line.picture.shape[0] >= 28
        assert 1 <= len(line.number) <= 8


def test_digits_with_gaps_are_apart_and_overlapping_ones_are_not(bars):
    straight = {"slant": 0.0, "size": 0.0, "baseline_px": 0.0}

    def runs(recipe):
        line = data.make(recipe, bars.images, bars.labels, 1, np.random.default_rng(3))[0]
        inked = np.concatenate([[False], (line.picture > 0.1).any(axis=0), [False]])
        return np.count_nonzero(inked[1:] & ~inked[:-1])

    assert runs(LineRecipe(gap_px=(3, 12), **straight)) == 5
    assert runs(LineRecipe(gap_px=(-1, 0), **straight)) == 1


def test_every_condition_is_asked_with_and_without_the_denoiser(bars):
    client = FakeClient()

    found = lines.measure(client, bars, count=4, seed=1, in_flight=2, quick=True, progress=Progress())

    wanted = len(lines.conditions(quick=True))
    assert [each.arm for each in found.cells] == ["never", "always"] * wanted
    assert sum(query.get("denoise") == "never" for query in client.asked) == 4 * wanted
    assert found.speed.line_ms == 2.0
    assert found.stopped_because == ""
    assert json.loads(found.to_json())["cells"][0]["form"] == "gaps"
    page = report.page(found, models="denoiser 2, classifier 2 (files sha256:0123456789abcdef)")
    assert stamps(page) == {"denoiser 2, classifier 2 (files sha256:0123456789abcdef)"}
    assert "| gaps | gaussian 0.5 |" in page
    assert "p50, one client" in page
    picture = cv2.imdecode(np.frombuffer(report.mistakes(found), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[1] == 840


def test_speed_is_measured_with_as_many_requests_as_are_asked_for(bars):
    client = FakeClient()

    lines.measure(client, bars, count=1, seed=1, in_flight=1, quick=True, speed_requests=7, progress=Progress())

    asked_for_speed = len(client.asked) - len(lines.ARMS) * len(lines.conditions(quick=True))
    assert asked_for_speed == 2 * 2 * 7  # digits and lines, from one client and from many


def test_a_gateway_that_fails_ends_it_and_what_was_counted_is_kept(bars):
    found = lines.measure(FakeClient(status=500), bars, count=2, seed=1, in_flight=1, quick=True, progress=Progress())

    assert found.cells == []
    assert "500" in found.stopped_because


def test_a_folder_of_ones_own_lines_is_read_as_it_is(tmp_path):
    (tmp_path / "a.jpg").write_bytes(cv2.imencode(".jpg", np.zeros((40, 90), np.uint8))[1].tobytes())
    (tmp_path / "labels.csv").write_text("file,number\na.jpg,40718\n")
    client = FakeClient()

    found = lines.measure_folder(client, tmp_path, in_flight=1, progress=Progress())

    assert [each.accuracy for each in found.cells] == [1.0, 1.0]
    assert {query["type"] for query in client.asked} == {"image/jpeg"}


@pytest.mark.parametrize(
    ("text", "said"),
    [("a.jpg,12x\n", "12x"), ("file,number\n", "no pictures"), ("file,number\ngone.jpg,1\n", "gone.jpg")],
)
def test_labels_that_are_wrong_are_named(tmp_path, text, said):
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "labels.csv").write_text(text)

    with pytest.raises(DatasetError, match=said):
        data.read_folder(tmp_path)


def test_an_answer_without_a_number_is_no_answer():
    client = FakeClient()
    client.answer = {}

    with pytest.raises(GatewayError, match="docs/API"):
        lines.read_one(client, "always", b"\x89PNG")
