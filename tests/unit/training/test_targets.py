"""The table of targets says what was reached and whether that is enough."""

import json
from pathlib import Path

import pytest

from training.targets import TARGETS, table

ROOT = Path(__file__).parents[3]
LEVELS = {"0.25": 0.994, "0.5": 0.981, "0.75": 0.94, "1.0": 0.83}
RESULTS = {
    "clean": 0.9951,
    "clean_alone": 0.9956,
    "chain": {"gaussian": LEVELS},
    "alone": {"gaussian": LEVELS},
    "robust_mean": 0.98,
    "worst_kind_accuracy": 0.95,
    "ece": 0.004,
    "psnr_db": {"0.5": 20.1},
    "ssim": {"0.5": 0.87},
}


def test_every_target_has_a_line_with_its_verdict():
    lines = table(RESULTS).splitlines()

    assert len(lines) == 2 + len(TARGETS)
    assert "| chain, clean images, % | ≥ 99.5 | ≥ 99.6 | 99.51 | met |" in lines
    assert "| chain, Gaussian 0.5, % | ≥ 98.2 | ≥ 98.6 | 98.10 | missed |" in lines
    assert "| lost on clean images by always denoising, points | ≤ 0.1 | ≤ 0.05 | 0.05 | met |" in lines


@pytest.mark.parametrize("model", ["denoiser", "classifier"])
def test_the_readme_shows_the_shipped_cards_figures(model):
    card = json.loads((ROOT / "models" / model / "1" / "model_card.json").read_text())

    assert table(card["results"]) in (ROOT / "training" / "README.md").read_text()
    assert card["training"]["command"] in (ROOT / "training" / "README.md").read_text()
