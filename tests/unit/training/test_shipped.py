"""What ships is what its cards say: whole version folders, and, where MNIST is at hand, the accuracies."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from services.core.model_digest import file_digests
from services.core.noise import NOISES
from services.model_server.engines.litert import LiteRTEngine
from services.model_server.engines.onnx import OnnxEngine
from services.model_server.engines.tensorflow import TensorFlowEngine
from tests.support.stack import MODELS, SHIPPED
from training.data.dataset import load_mnist, split
from training.export.versions import WARMUP_BATCHES, onnx_predictor, read_warmup
from training.measure.measurements import measure_headline

NAMES = ("denoiser", "classifier")
MNIST = os.environ.get("CLEARDIGITS_MNIST")


def folder(name):
    return MODELS / name / str(SHIPPED)


def card(name):
    return json.loads((folder(name) / "model_card.json").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_version_is_whole_and_described_by_its_own_card(name):
    for part in ("saved_model.pb", "variables/variables.index", "model.onnx", "model.tflite"):
        assert (folder(name) / part).stat().st_size > 0
    assert len(read_warmup(folder(name))) == len(WARMUP_BATCHES) + (name == "denoiser")
    assert card(name)["files_sha256"] == file_digests(folder(name))
    assert (card(name)["name"], card(name)["version"]) == (name, int(folder(name).name))
    assert set(card(name)["results"]["chain"]) == set(NOISES)


def test_both_cards_tell_of_the_same_run():
    denoiser, classifier = map(card, NAMES)

    assert denoiser["training"] == classifier["training"]
    assert denoiser["results"] == classifier["results"]
    assert denoiser["chain"] == dict.fromkeys(NAMES, SHIPPED)


@pytest.mark.parametrize("engine", [OnnxEngine, LiteRTEngine, TensorFlowEngine])
def test_every_engine_cleans_a_line_and_tells_what_is_no_digit(engine, rng):
    strip = rng.random((2, 28, 224, 1), dtype=np.float32)
    (denoised,) = engine(folder("denoiser")).run("serving_default", {"images": strip}, ["denoised"])
    outputs = ["probabilities", "is_digit"]
    digits = np.stack([denoised[0, :, 28 * place : 28 * place + 28] for place in range(8)])
    probabilities, is_digit = engine(folder("classifier")).run("serving_default", {"images": digits}, outputs)

    assert denoised.shape == strip.shape
    assert (probabilities.shape, is_digit.shape) == ((8, 10), (8,))
    assert is_digit.max() < 0.5  # it was noise


def test_all_that_ships_is_a_few_megabytes():
    assert sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file()) < 8_000_000


@pytest.mark.timeout(600)  # 50,000 pictures through both models: 40 s of two processors
@pytest.mark.skipif(not MNIST, reason="CLEARDIGITS_MNIST does not name a file")
def test_the_shipped_chain_reads_mnist_as_well_as_its_card_says():
    test = split(load_mnist(Path(MNIST)), validation=1, seed=0).test
    denoise = onnx_predictor(folder("denoiser") / "model.onnx", output="denoised")
    classify = onnx_predictor(folder("classifier") / "model.onnx", output="probabilities")
    results = card("classifier")["results"]
    written = {"clean": results["clean"]} | {
        f"gaussian {level}": accuracy for level, accuracy in results["chain"]["gaussian"].items()
    }

    assert measure_headline(denoise, classify, test[: results["images"]]) == pytest.approx(written, abs=0.0003)
