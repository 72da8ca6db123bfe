"""Measuring a published pair again changes its cards' figures and the README's table, and nothing else."""

import json
import shutil

import numpy as np
import pytest

from services.core.model_digest import file_digests
from tests.support.digits import synthetic_mnist
from tests.support.tiny_training import tiny_classifier, tiny_denoiser
from training.data.dataset import split
from training.export.versions import write_version
from training.studies import remeasure


@pytest.fixture
def published(tmp_path, monkeypatch):
    for exportable in (tiny_denoiser(), tiny_classifier()):
        write_version(exportable, tmp_path / "models" / exportable.name / "1", {"name": exportable.name})
    (tmp_path / "README.md").write_text("before\n\n| measure | target | stretch | reached | |\n| old |\n\nafter\n")
    test = split(synthetic_mnist(train=20, test=40), validation=5, seed=0)
    monkeypatch.setattr(remeasure, "load_mnist", lambda path: None)
    monkeypatch.setattr(remeasure, "split", lambda arrays, **options: test)
    return tmp_path


def run(folder):
    return remeasure.main(["--models", str(folder / "models"), "--readme", str(folder / "README.md")])


def test_cards_and_readme_get_the_new_figures(published, capsys):
    before = {name: file_digests(published / "models" / name / "1") for name in ("denoiser", "classifier")}

    (published / "models/denoiser/1/model.sig").write_text("{}")

    assert run(published) == 0

    said = capsys.readouterr()
    assert said.err == f"the card of {published}/models/denoiser/1 has changed: sign it again\n"
    cards = [json.loads((published / f"models/{name}/1/model_card.json").read_text()) for name in before]
    assert cards[0]["results"] == cards[1]["results"]
    assert cards[0]["results"]["images"] == 40
    assert [card["files_sha256"] for card in cards] == list(before.values())
    readme = (published / "README.md").read_text()
    assert said.out.strip() in readme
    assert readme.startswith("before\n\n| measure") and readme.endswith("\n\nafter\n")
    assert "| old |" not in readme


def test_the_readme_is_about_the_models_of_the_repository(published, monkeypatch):
    monkeypatch.setattr(remeasure, "ROOT", published)
    (published / "training").mkdir()
    readme = published / "training/README.md"
    readme.write_text("| measure | target | stretch | reached | |\n| old |\n\nafter\n")
    elsewhere = shutil.copytree(published / "models", published / "elsewhere")

    assert remeasure.main(["--models", str(elsewhere)]) == 0
    assert "| old |" in readme.read_text()
    assert remeasure.main(["--models", str(published / "models")]) == 0
    assert "| old |" not in readme.read_text()


def test_files_that_are_not_those_of_the_card_are_refused(published, capsys):
    shutil.copy(published / "models/denoiser/1/model.onnx", published / "models/classifier/1/model.onnx")

    assert run(published) == 1
    assert "not those of its card" in capsys.readouterr().err


def test_the_summary_of_shares_adds_up(published):
    run(published)

    reference = json.loads((published / "models/denoiser/1/model_card.json").read_text())["results"]["wide"][
        "reference"
    ]
    for name in ("confidence", "noise_level"):
        for shares in reference[name].values():
            assert np.sum(shares) == pytest.approx(1, abs=1e-3)
