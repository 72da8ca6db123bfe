"""The command line: what it refuses, and what it tells you to type to run the same thing again."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.support.digits import synthetic_mnist
from training import __main__ as command
from training.__main__ import main
from training.config import RECIPES, TrainingConfig
from training.recipes import find


@pytest.mark.parametrize(
    "wrong",
    [
        *(["--recipe", "magic"], ["--epochs", "0"], ["--measured", "0"], ["--hold-out", "fog"], ["--epoch=x"], ["x"]),
        *(["--epochs", "few"], ["--seed", "-1"], ["--seed", str(2**32)]),
        *(["--recipe", "cnn", "--teacher", "runs/large"], ["--recipe", "mlp", "--start-from", "1"]),
    ],
)
def test_what_it_does_not_know_is_refused(wrong, capsys):
    with pytest.raises(SystemExit) as refusal:
        main(wrong)

    assert refusal.value.code == 2
    assert "usage: python -m training" in capsys.readouterr().err


def test_ctrl_c_is_one_line_and_a_status_of_its_own(monkeypatch, capsys):
    def stopped(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "load_mnist", stopped)

    assert main([]) == 130
    assert capsys.readouterr().err == "stopped; the same command goes on from here\n"


def test_a_backend_that_keras_has_not_got_is_one_line(tmp_path):
    np.savez(tmp_path / "mnist.npz", **synthetic_mnist(train=96, test=16))
    begin = (
        "import sys, training.__main__ as command; from training.data.dataset import read_arrays; "
        "command.load_mnist = read_arrays; sys.exit(command.main(sys.argv[1:]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", begin, "--validation", "32", "--mnist", str(tmp_path / "mnist.npz")],
        env=os.environ | {"KERAS_BACKEND": "abacus"}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert ended.returncode == 1
    assert "error: Keras does not start, KERAS_BACKEND=abacus: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_command_repeats_what_differs_from_the_defaults():
    assert TrainingConfig().command() == "python -m training"
    assert TrainingConfig(recipe="cnn", epochs=3).command() == "python -m training --recipe cnn --epochs 3"
    assert TrainingConfig(measured=400).command() == "python -m training --measured 400"
    assert TrainingConfig(hold_out="stripes", seed=2).command() == "python -m training --seed 2 --hold-out stripes"
    assert TrainingConfig(epochs=9, start_from=2).command() == "python -m training --epochs 9 --start-from 2"


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_says_where_its_figures_come_from_and_what_was_published(name):
    recipe = find(name)

    assert "Figures:" in recipe.__doc__
    assert recipe.PUBLISHED
    assert callable(recipe.run)
