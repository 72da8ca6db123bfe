"""A noise kind left out of training, from the command line to the table."""

import json

import numpy as np
import pytest

from tests.support.digits import synthetic_mnist
from training.studies import held_out


@pytest.fixture
def small_mnist(monkeypatch):
    data = synthetic_mnist(train=96, test=16)
    monkeypatch.setattr(held_out, "mnist_path", lambda path: path)
    monkeypatch.setattr(held_out, "load_mnist", lambda path: data)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of Keras's variables
def test_each_kind_asked_for_is_trained_without_and_read(small_mnist, tmp_path, capsys):
    flags = ["--epochs", "1", "--validation", "32", "--batch-size", "32", "--runs", str(tmp_path), "--kind", "stripes"]

    assert held_out.main(flags) == 0

    seen, unseen = (json.loads((tmp_path / name / "accuracy.json").read_text()) for name in ("none", "stripes"))
    assert unseen.keys() == {"stripes"} < seen.keys()
    assert json.loads((tmp_path / "stripes" / "config.json").read_text())["hold_out"] == "stripes"
    table = capsys.readouterr().out
    assert table.splitlines()[2].startswith(f"| stripes | {seen['stripes']:.2%} | {unseen['stripes']:.2%} |")
    assert "| mean |" in table and np.isfinite(list(seen.values())).all()
