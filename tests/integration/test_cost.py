"""`make cost` on real model servers and gateways: the pair, and a fused model that is, or is not, the same function."""

import json

import numpy as np
import onnx
import pytest
from onnx import compose

from services.evaluator.studies import chaining_cost as cost
from tests.support.tiny_models import digits, write_tiny_models


def fuse(models, folder, classifier="classifier"):
    """`folder/1/model.onnx`: both tiny models in one graph."""
    first = onnx.load(models / "denoiser" / "1" / "model.onnx")
    second = onnx.load(models / classifier / "1" / "model.onnx")
    second = compose.add_prefix(second, "second_")
    fused = compose.merge_models(first, second, io_map=[("denoised", "second_images")])
    fused.graph.output[0].name = "probabilities"
    fused.graph.node[-1].output[0] = "probabilities"
    (folder / "1").mkdir(parents=True)
    onnx.save(fused, folder / "1" / "model.onnx")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_tiny_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def run(models, tmp_path):
    pixels, labels = digits(40)
    np.savez(tmp_path / "digits.npz", x=pixels, y=labels)

    def call():
        return cost.main(
            ["--models", str(models), "--fused", str(tmp_path / "fused"), "--dataset", str(tmp_path / "digits.npz"),
             "--requests", "30", "--report", str(tmp_path / "cost")]
        )  # fmt: skip

    return call


def test_all_ways_are_measured_and_answer_alike(run, models, tmp_path, capsys):
    fuse(models, tmp_path / "fused")

    assert run() == 0

    found = json.loads((tmp_path / "cost" / "cost.json").read_text())
    two, one, in_process, fused = found["ways"]
    assert two["wire_bytes"] - one["wire_bytes"] > 2 * 28 * 28 * 4  # there and back of one more hop
    assert in_process["wire_bytes"] == fused["wire_bytes"] == 0
    assert two["p50_ms"] > in_process["p50_ms"] > 0
    assert all(way["images_per_s"] > 0 for way in found["ways"])
    assert "| two served models |" in capsys.readouterr().out


def test_without_a_fused_model_it_says_so(run, capsys):
    assert run() == 2
    assert "make cost" in capsys.readouterr().err
