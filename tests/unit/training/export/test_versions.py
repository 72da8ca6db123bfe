"""A version is whole, checked and visible at once, or it is not there."""

import json
import resource
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from services.core.model_digest import file_digests, versions
from services.model_server.engines.litert import LiteRTEngine
from services.model_server.engines.onnx import OnnxEngine
from services.model_server.engines.tensorflow import TensorFlowEngine
from tests.support.tiny_training import tiny_classifier, tiny_denoiser
from training.errors import ExportError
from training.export.versions import (
    WARMUP_BATCHES,
    check_version,
    new_version,
    onnx_predictor,
    read_warmup,
    to_onnx,
    write_version,
)


@pytest.fixture(scope="module")
def exportable():
    return tiny_denoiser()


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).random((16, 28, 28, 1), dtype=np.float32)


@pytest.fixture(scope="module")
def home(exportable, pictures, tmp_path_factory):
    home = tmp_path_factory.mktemp("models") / "denoiser"
    with new_version(home) as (folder, number):
        write_version(exportable, folder, {"version": number})
        check_version(exportable, folder, pictures)
    return home


def test_the_first_version_is_1_and_whole(home):
    assert [child.name for child in home.iterdir()] == ["1"]
    for name in ("saved_model.pb", "variables", "model.onnx", "model.tflite", "model_card.json", "assets.extra"):
        assert (home / "1" / name).exists()
    card = json.loads((home / "1" / "model_card.json").read_text())
    assert card["version"] == 1
    assert card["files_sha256"] == file_digests(home / "1")
    assert {"saved_model.pb", "model.onnx", "variables/variables.index"} < set(card["files_sha256"])


def test_another_user_can_read_the_version(home):
    assert (home / "1").stat().st_mode & 0o777 == 0o755


def test_the_saved_model_has_the_named_signature(home, exportable, pictures):
    signature = tf.saved_model.load(str(home / "1")).signatures["serving_default"]
    answer = signature(images=tf.constant(pictures))

    assert list(answer) == ["denoised"]
    assert signature.structured_input_signature[1]["images"].shape.as_list() == [None, None, None, 1]
    np.testing.assert_allclose(answer["denoised"], exportable.model.predict_on_batch(pictures), atol=1e-5)


def test_the_onnx_file_has_the_named_input_and_output(home):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(home / "1" / "model.onnx"), providers=["CPUExecutionProvider"])

    assert [each.name for each in session.get_inputs()] == ["images"]
    assert [each.name for each in session.get_outputs()] == ["denoised"]


def test_warm_up_requests_name_model_signature_and_input(home):
    requests = read_warmup(home / "1")

    assert [tf.make_ndarray(each.inputs["images"]).shape for each in requests] == [
        *((batch, 28, 28, 1) for batch in WARMUP_BATCHES),
        (1, 28, 112, 1),
    ]
    assert {(each.model_spec.name, each.model_spec.signature_name) for each in requests} == {
        ("denoiser", "serving_default")
    }


def test_a_model_with_two_outputs_is_served_with_both(pictures, tmp_path):
    classifier = tiny_classifier()
    write_version(classifier, tmp_path, {})
    check_version(classifier, tmp_path, pictures)

    expected = classifier.model.predict_on_batch(pictures)
    for output in ("probabilities", "is_digit"):
        predict = onnx_predictor(tmp_path / "model.onnx", output=output)
        np.testing.assert_allclose(predict(pictures), expected[output], atol=1e-5)
    assert expected["is_digit"].shape == (16,)


@pytest.mark.parametrize("engine", [OnnxEngine, LiteRTEngine, TensorFlowEngine])
def test_every_engine_serves_a_denoiser_of_any_size(engine, home, exportable, rng):
    loaded = engine(home / "1")
    for shape in ((1, 28, 28, 1), (3, 28, 224, 1), (2, 40, 28, 1), (1, 28, 28, 1)):
        images = rng.random(shape, dtype=np.float32)
        (denoised,) = loaded.run("serving_default", {"images": images}, ["denoised"])

        np.testing.assert_allclose(denoised, exportable.model.predict_on_batch(images), atol=1e-5)


def test_the_check_finds_a_file_that_answers_differently(home, exportable, pictures, tmp_path):
    with pytest.raises(ExportError, match=r"model\.onnx of denoiser is off"), new_version(tmp_path) as (folder, _):
        write_version(exportable, folder, {})
        (folder / "model.onnx").write_bytes(to_onnx(tiny_denoiser(seed=1)))
        check_version(exportable, folder, pictures)

    assert list(tmp_path.iterdir()) == []


def test_the_check_finds_a_model_that_answers_nan(home, pictures):
    broken = tiny_denoiser()
    broken.model.set_weights([np.full_like(weight, np.nan) for weight in broken.model.get_weights()])

    with pytest.raises(ExportError, match="off from the Keras model by nan"):
        check_version(broken, home / "1", pictures)


def test_the_check_finds_missing_warm_up_requests(exportable, pictures, tmp_path):
    write_version(exportable, tmp_path, {})
    tf.io.TFRecordWriter(str(tmp_path / "assets.extra" / "tf_serving_warmup_requests")).close()

    with pytest.raises(ExportError, match="warm-up"):
        check_version(exportable, tmp_path, pictures)


def test_versions_are_counted_as_numbers(tmp_path):
    for name in ("2", "10", "notes", ".tmp-x"):
        (tmp_path / name).mkdir()

    with new_version(tmp_path) as (_, number):
        pass

    assert number == 11
    assert versions(tmp_path) == [2, 10, 11]


def test_an_interrupted_export_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), new_version(tmp_path / "denoiser") as (folder, _):
        (folder / "saved_model.pb").write_bytes(b"half")
        raise KeyboardInterrupt

    assert list((tmp_path / "denoiser").iterdir()) == []


def test_a_killed_export_shows_no_half_version_and_does_not_stop_the_next(tmp_path):
    script = f"""
import os, signal
from pathlib import Path
from training.export.versions import new_version
with new_version(Path({str(tmp_path)!r})) as (folder, number):
    (folder / "saved_model.pb").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert killed.returncode == -9
    assert versions(tmp_path) == []

    with new_version(tmp_path):
        pass
    assert versions(tmp_path) == [1]


def test_a_models_folder_that_cannot_be_written_is_one_message(tmp_path):
    (tmp_path / "models").write_text("a file where the folder should be")

    with (
        pytest.raises(ExportError, match="cannot write a version of denoiser"),
        new_version(tmp_path / "models/denoiser"),
    ):
        pytest.fail("there is nowhere to write")


def test_a_full_disk_leaves_what_was_there(exportable, tmp_path):
    (tmp_path / "1").mkdir()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # bytes a file may grow to
    try:
        with pytest.raises(ExportError, match="cannot write"), new_version(tmp_path) as (folder, _):
            write_version(exportable, folder, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert [child.name for child in tmp_path.iterdir()] == ["1"]


def test_onnx_predictors_take_bytes_and_files(home, exportable, pictures):
    from_file, from_bytes = onnx_predictor(home / "1" / "model.onnx"), onnx_predictor(to_onnx(exportable), threads=1)

    np.testing.assert_allclose(from_file(pictures), from_bytes(pictures), atol=1e-6)
