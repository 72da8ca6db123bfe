"""The pairs of all sizes and their controls: what each costs, what a teacher changes, and on which backends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.digits import synthetic_mnist
from training import runs
from training.config import SIZES, TrainingConfig
from training.data.dataset import split
from training.errors import TrainingError
from training.measure.cost import flops
from training.networks.chain import Direct, Teacher, cut_out
from training.recipes import find
from training.recipes.pair import build, load_teacher

ROOT = Path(__file__).parents[4]
LABELS = np.array([3, -1, 5, 7, 0, -1, 1, 2] * 2, np.int32)
MOST_MFLOP = {"small": 3, "default": 9, "large": 28}


@pytest.fixture
def batch(rng):
    noisy, clean = rng.random((2, len(LABELS), 28, 28, 1), dtype=np.float32)
    strips = rng.random((2, 28, 112, 1), dtype=np.float32)
    return {
        "noisy": noisy,
        "clean": clean,
        "has_clean": np.ones(len(LABELS), np.float32),
        "noisy_strips": strips,
        "clean_strips": strips,
        "strip_lefts": np.array([[0, 40], [84, 7]], np.int32),
        "strip_masks": (rng.random((2, 2, 28, 28, 1)) < 0.5).astype(np.float32),
        "strip_labels": np.array([[1, 2], [3, 4]], np.int32),
    }


@pytest.mark.parametrize("size", MOST_MFLOP)
def test_a_control_costs_what_its_pair_costs(size):
    control = "direct" if size == "default" else f"direct-{size}"
    costs = {name: sum(flops(network) for network in build(name).networks) for name in (size, control)}

    assert costs[size] <= 1e6 * MOST_MFLOP[size]
    assert costs[control] == pytest.approx(costs[size], rel=0.05)


def test_a_teacher_says_how_likely_the_wrong_digits_are():
    """Both answers give the label 0.6; only one shares out the rest as the teacher does."""
    alike = np.array([[0.6, 0.3, 0.1] + 7 * [1e-6]], np.float32)
    unlike = np.array([[0.6, 0.1, 0.3] + 7 * [1e-6]], np.float32)
    labels, is_digit = np.array([0], np.int32), np.array([0.9], np.float32)
    model = build("direct-small")

    def loss(probabilities, **taught):
        return float(model.reading_loss(labels, {"probabilities": probabilities, "is_digit": is_digit, **taught}))

    taught = {"probabilities": alike, "is_digit": is_digit}
    assert loss(alike) == pytest.approx(loss(unlike))
    assert loss(alike, taught=taught) < loss(unlike, taught=taught) - 0.1


@pytest.mark.parametrize("size", ["small", "direct-small"])
def test_a_teacher_answers_in_training_alone_and_none_of_its_weights_is_the_pupils(size, batch):
    teacher = build("small")
    teacher(batch)
    pupil, untaught = find(size).build(Teacher(teacher)), build(size)
    answer = pupil(batch, training=True)
    untaught(batch)

    on_strips = 0 if size.startswith("direct") else batch["strip_labels"].size  # whose labels alone are learnt
    assert len(answer["taught"]["probabilities"]) == len(answer["probabilities"]) - on_strips
    assert np.isfinite(pupil.compute_loss(batch, LABELS, answer))
    assert "taught" not in pupil(batch, training=False)
    assert len(pupil.variables) == len(untaught.variables)


def test_digits_are_cut_out_of_strips_where_they_stand(batch):
    strips, lefts, masks = (batch[name] for name in ("clean_strips", "strip_lefts", "strip_masks"))
    expected = [
        strips[n, :, left : left + 28] * masks[n, k] for n, row in enumerate(lefts) for k, left in enumerate(row)
    ]

    np.testing.assert_array_equal(cut_out(strips, lefts, masks), np.stack(expected))


def test_a_run_that_cannot_teach_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="holds no finished run"):
        load_teacher(tmp_path)
    for recipe in ("cnn", "direct-small"):
        (tmp_path / "config.json").write_text(json.dumps({"recipe": recipe}))
        (tmp_path / "final.weights.h5").touch()
        with pytest.raises(TrainingError, match=f"a run of {recipe}, which is no chain"):
            load_teacher(tmp_path)


@pytest.mark.timeout(600)
def test_a_finished_run_teaches_a_control_on_another_backend_and_tensorflow_goes_on(tmp_path):
    """JAX trains both, from the same files; the weights it leaves are the ones that TensorFlow loads."""
    script = """
import sys
from pathlib import Path
from tests.support.digits import synthetic_mnist
from training import runs
from training.config import TrainingConfig
from training.data.dataset import split
data = split(synthetic_mnist(train=96, test=16), validation=32, seed=0)
folder = Path(sys.argv[1])
assert runs.backend() == "jax"
runs.train(TrainingConfig(recipe="small", epochs=1, batch_size=32), data, folder / "teacher")
taught = TrainingConfig(recipe="direct-small", epochs=2, batch_size=32, teacher=str(folder / "teacher"))
runs.train(taught, data, folder / "run")
assert "training.export.versions" not in sys.modules  # which TensorFlow alone can do
"""
    finished = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        # XLA optimizes longer than three epochs of 96 pictures take
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr

    data = split(synthetic_mnist(train=96, test=16), validation=32, seed=0)
    config = TrainingConfig(recipe="direct-small", epochs=2, batch_size=32, teacher=str(tmp_path / "teacher"))
    outcome = runs.train(config, data, tmp_path / "run")

    assert runs.backend() == "tensorflow"
    assert len(outcome.history["loss"]) == 2 and outcome.denoiser is None
    assert outcome.classifier.predict(data.test.images, verbose=0)["probabilities"].shape == (16, 10)


def test_every_size_is_a_recipe_with_networks():
    assert all(isinstance(build(name), Direct) for name in SIZES)
