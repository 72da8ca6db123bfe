"""The pair in integers: quantized, read and timed, on models and pictures of a few nodes."""

import numpy as np
import pytest

from services.core.metrics import accuracy
from tests.support.tiny_models import digits, write_tiny_models
from training.data.dataset import Dataset, Digits
from training.export.versions import onnx_predictor
from training.studies import int8


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """The tiny models, and the digits that they read, in the place of MNIST."""
    pictures, labels = digits(200)
    known = Digits((pictures / np.float32(255))[..., np.newaxis], labels.astype(np.int64))
    data = Dataset(known, known, known, {})
    monkeypatch.setattr(int8, "mnist_path", lambda path: path)
    monkeypatch.setattr(int8, "load_mnist", lambda path: None)
    monkeypatch.setattr(int8, "split", lambda *_, **__: data)
    monkeypatch.setattr(int8, "ROUNDS", 1)
    return write_tiny_models(tmp_path / "models"), known


def test_a_graph_in_integers_is_smaller_and_reads_the_same(pair, tmp_path):
    models, known = pair
    graph = models / "classifier/1/model.onnx"

    small = int8.quantized(graph, known.images, tmp_path)

    assert small.stat().st_size < graph.stat().st_size / 2
    read, expected = (onnx_predictor(path)(known.images).argmax(axis=1) for path in (small, graph))
    assert accuracy(expected, read) > 0.95


def test_the_page_has_both_kinds_in_the_engine_that_serves(pair, tmp_path, capsys):
    models, _ = pair

    assert int8.main(["--models", str(models), "--output", str(tmp_path / "page.md")]) == 0

    page = (tmp_path / "page.md").read_text()
    rows = {line.split("|")[1].strip(): line.split("|") for line in page.splitlines() if line.startswith("| ONNX")}
    assert rows.keys() == {"ONNX Runtime, float32", "ONNX Runtime, int8"}
    assert float(rows["ONNX Runtime, float32"][2].split()[0]) > 95
    assert "/" in rows["ONNX Runtime, int8"][-2] and "/" not in rows["ONNX Runtime, float32"][-2]
    assert page.strip() in capsys.readouterr().out


def test_a_folder_without_versions_is_one_message(pair, tmp_path, capsys):
    assert int8.main(["--models", str(tmp_path), "--output", str(tmp_path / "page.md")]) == 1

    assert "error: there is no version of denoiser in" in capsys.readouterr().err
