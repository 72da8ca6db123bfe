"""Which lines a load test is run with."""

import json

import numpy as np
import pytest

from services.evaluator.client import TimedAnswer
from services.evaluator.data import lines as made
from services.evaluator.data.dataset import load
from services.evaluator.data.lines import LineRecipe
from services.evaluator.errors import DatasetError
from services.evaluator.load import lines
from services.evaluator.load.lines import LineSamples, choose


@pytest.fixture
def dataset(tiny_dataset):
    return load(tiny_dataset)


@pytest.fixture
def labelled(dataset):
    """The numbers that `choose` will draw, in their order."""
    rng = np.random.default_rng(3)
    drawn = made.make(LineRecipe(), dataset.images, dataset.labels, lines.CANDIDATES, rng)
    return [line.number for line in drawn]


class Reading:
    """Reads every third line rightly, every third rightly but unsurely, every third wrongly."""

    def __init__(self, numbers):
        self.numbers = numbers
        self.asked = 0

    def read_line(self, body, content_type):
        number, place = self.numbers[self.asked], self.asked % 3
        self.asked += 1
        result = {"index": 0, "number": "0" if place == 2 else number, "confidence": 0.5 if place == 1 else 0.95}
        body = json.dumps({"results": [result], "timings_ms": {"total": 1}}).encode()
        return TimedAnswer(200, body, elapsed_ms=1.0, request_bytes=1, response_bytes=len(body))


def test_only_lines_read_rightly_and_surely_at_rest_are_taken(dataset, labelled):
    found = choose(dataset, Reading(labelled), seed=3)

    assert found.numbers == labelled[::3]
    assert all(png.startswith(b"\x89PNG") for png in found.pngs)


def test_too_few_are_said_so(dataset):
    with pytest.raises(DatasetError, match="too few"):
        choose(dataset, Reading(["no"] * lines.CANDIDATES), seed=3)


def test_what_is_saved_is_read_again(tmp_path):
    samples = LineSamples([b"one", b"\x00two"], ["007", "12"])

    samples.save(tmp_path / "load" / "lines.json")
    assert LineSamples.read(tmp_path / "load" / "lines.json") == samples
