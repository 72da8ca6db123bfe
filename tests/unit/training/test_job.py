"""From drawn digits to published versions: every recipe's way through the job, on data that needs no file."""

import base64
import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from services.core.model_digest import versions
from services.core.noise import NOISES
from services.model_server.versions.signed_files import signature_check
from tests.support.digits import synthetic_mnist
from tests.support.signing import write_keys
from tests.support.tiny_training import tiny_outcome
from training import job, runs
from training.config import TUTORIALS, TrainingConfig
from training.data.dataset import split
from training.errors import ExportError, GateError, TrainingError
from training.export.versions import load_version, onnx_predictor, to_onnx
from training.fitting.fit import fit
from training.networks.chain import Chain
from training.networks.classifier import build_classifier
from training.networks.denoiser import build_denoiser
from training.release.signing import Signer

# Keras 3.15 converts TensorFlow variables with NumPy's older protocol.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
    pytest.mark.timeout(900),  # the fixture trains and measures: over 120 s where other work takes the processors
]


@pytest.fixture(scope="module")
def data():
    return split(synthetic_mnist(train=832, test=200), validation=64, seed=0)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """The default recipe, trained for two short epochs and measured."""
    config, workdir = TrainingConfig(epochs=2, validation=64), tmp_path_factory.mktemp("run")
    outcome = runs.train(config, data, workdir)
    return config, outcome, job.report(config, data, outcome, workdir), workdir


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return write_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def models(run, data, keys, tmp_path_factory):
    config, outcome, measured, _ = run
    models, signer = tmp_path_factory.mktemp("models"), Signer.open(keys[0])
    assert job.publish(config, data, outcome, measured, models, signer=signer) == {"denoiser": 1, "classifier": 1}
    return models


def test_training_makes_the_loss_fall(run):
    _, outcome, _, workdir = run
    loss = outcome.history["loss"]

    assert loss[1] < 0.9 * loss[0]
    assert json.loads((workdir / "history.json").read_text()) == outcome.history


def test_a_finished_run_is_not_trained_again(run, data):
    config, outcome, _, workdir = run

    again = runs.train(config, data, workdir)

    assert again.history == outcome.history
    for weight, same in zip(outcome.classifier.get_weights(), again.classifier.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, same)


def test_a_run_folder_of_other_settings_is_refused(run, data):
    config, _, _, workdir = run

    with pytest.raises(TrainingError, match="holds another run, seed 1 not 2"):
        runs.train(dataclasses.replace(config, seed=2), data, workdir)


def test_a_run_that_a_wrong_setting_kept_from_beginning_may_begin_with_the_right_one(data, tmp_path):
    with pytest.raises(TrainingError, match="no finished run that could teach"):
        runs.train(TrainingConfig(epochs=1, teacher="/nowhere"), data, tmp_path)

    with pytest.raises(TrainingError, match="there is no version in"):  # not: another run
        runs.train(TrainingConfig(epochs=1, start_from=9, models=str(tmp_path)), data, tmp_path)


def test_the_report_holds_figures_and_pictures(run):
    _, _, measured, workdir = run
    results = json.loads((workdir / "results.json").read_text())

    assert results["command"] == "python -m training --epochs 2 --validation 64"
    assert results["measured"]["clean"] == measured.clean
    assert set(measured.chain) == set(measured.alone) and len(measured.chain) == len(NOISES)
    for name in ("curves", "pictures", "confusion", "calibration", "noise", "mistakes"):
        assert (workdir / f"{name}.webp").stat().st_size > 1000


def test_published_versions_are_signed_under_their_numbers(models, keys):
    for name in ("denoiser", "classifier"):
        signature_check(keys[1])(models / name / "1")
        envelope = json.loads((models / name / "1/model.sig").read_text())["dsseEnvelope"]
        assert json.loads(base64.b64decode(envelope["payload"]))["subject"][0]["name"] == "1"


def test_published_models_answer_as_the_trained_ones_through_every_file(models, run, data):
    outcome = run[1]
    for exportable in job.exportables(outcome):
        folder = models / exportable.name / "1"
        pictures = data.test.images
        expected = exportable.named(exportable.model.predict(pictures, verbose=0))

        saved = tf.saved_model.load(str(folder)).signatures["serving_default"](images=tf.constant(pictures))
        for output in exportable.outputs:
            predict = onnx_predictor(folder / "model.onnx", output=output)
            np.testing.assert_allclose(saved[output], expected[output], atol=1e-5)
            np.testing.assert_allclose(predict(pictures), expected[output], atol=1e-5)


def test_training_starts_from_a_published_version(models, run, data):
    chain, published = Chain(build_denoiser(), build_classifier()), run[1]

    for model in (chain.denoiser, chain.classifier):
        load_version(model, models / model.name / "1")

    for exportable in job.exportables(published):
        started = chain.denoiser if exportable.name == "denoiser" else chain.classifier
        for weight, same in zip(exportable.model.get_weights(), started.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, same)
    with pytest.raises(ExportError, match="there is no version in"):
        runs.train(TrainingConfig(start_from=9, models=str(models)), data, models / "run")
    with pytest.raises(ExportError, match="another network"):
        load_version(build_classifier(widths=(8, 8, 8, 8)), models / "classifier" / "1")


def test_a_card_describes_its_own_version(models, run, data):
    card = json.loads((models / "classifier" / "1" / "model_card.json").read_text())

    assert (card["name"], card["version"], card["chain"]) == ("classifier", 1, {"denoiser": 1, "classifier": 1})
    assert card["training"]["command"] == "python -m training --epochs 2 --validation 64"
    assert card["training"]["data_sha256"] == data.sha256
    assert card["results"]["clean"] == pytest.approx(run[2].clean, abs=1e-5)
    assert card["signature"]["outputs"] == {
        "probabilities": ["float32", [-1, 10]],
        "is_digit": ["float32", [-1]],
    }


def test_a_worse_pair_is_refused_and_force_publishes_it(run, data, tmp_path, monkeypatch):
    config, trained, measured, _ = run

    job.publish(config, data, trained, measured, tmp_path)
    monkeypatch.setattr(
        job.gate, "measure_current", lambda models_dir, digits, held_back: {"clean": 1.0}
    )  # as after a long training
    with pytest.raises(GateError, match="worse at clean"):
        job.publish(config, data, tiny_outcome(), measured, tmp_path)
    assert versions(tmp_path / "denoiser") == versions(tmp_path / "classifier") == [1]

    job.publish(config, data, tiny_outcome(), measured, tmp_path, force=True)
    assert versions(tmp_path / "denoiser") == versions(tmp_path / "classifier") == [1, 2]


def test_neither_model_appears_when_one_cannot_be_written(run, data, tmp_path):
    config, _, measured, _ = run
    (tmp_path / "classifier").write_text("a file where the folder should be")

    with pytest.raises(TrainingError, match="cannot write a version of classifier"):
        job.publish(config, data, tiny_outcome(), measured, tmp_path)
    assert versions(tmp_path / "denoiser") == []


def test_a_small_network_learns_the_drawn_digits(data, tmp_path):
    outcome = runs.train(TrainingConfig(recipe="mlp", epochs=12), data, tmp_path)

    assert outcome.figures["test accuracy"] > 0.9


@pytest.mark.parametrize("recipe", TUTORIALS)
def test_the_networks_of_every_tutorial_can_be_exported(recipe, data, tmp_path):
    few = dataclasses.replace(data, train=data.train[:96], validation=data.validation[:32], test=data.test[:32])
    outcome = runs.train(TrainingConfig(recipe=recipe, epochs=1), few, tmp_path)

    for exportable in job.exportables(outcome):
        path = tmp_path / "model.onnx"
        path.write_bytes(to_onnx(exportable))
        served = onnx_predictor(path, output=exportable.outputs[0])(few.test.images)
        np.testing.assert_allclose(served, exportable.model(few.test.images), atol=1e-5)


class KilledInEpoch(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


def test_a_killed_run_goes_on_where_it_was_and_ends_the_same(data, tmp_path):
    def train(workdir, *callbacks):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        x, y = data.train.images[:128], data.train.labels[:128]
        history = fit(  # one batch an epoch, so that shuffling does not matter
            model, x, y, validation_data=(x, y), epochs=4, batch_size=128, workdir=workdir, callbacks=callbacks
        )
        return history, model.get_weights()

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", KilledInEpoch(2))
    resumed, resumed_weights = train(tmp_path / "killed")
    straight, straight_weights = train(tmp_path / "straight")

    assert resumed["loss"] == pytest.approx(straight["loss"], rel=1e-5)
    for weight, expected in zip(resumed_weights, straight_weights, strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-6)
