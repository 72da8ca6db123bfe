"""The table of targets says what was reached and whether that is enough."""

import json

import pytest

from tests.support.stack import MODELS, ROOT, SHIPPED
from training.data.outliers import OUTLIERS
from training.measure.targets import NEW_KINDS, TARGETS, table

LEVELS = {"0.25": 0.994, "0.5": 0.981, "0.75": 0.94, "1.0": 0.83}
MOVES = ("by 3 px", "by 4 px", "by 5 px", "scaled")
JUDGED = {kind: {"auroc": 0.99, "accepted": 0.03} for kind in OUTLIERS}
RESULTS = {
    "clean": 0.9951,
    "clean_alone": 0.9956,
    "chain": {"gaussian": LEVELS} | dict.fromkeys(NEW_KINDS, LEVELS),
    "alone": {"gaussian": LEVELS} | dict.fromkeys(NEW_KINDS, LEVELS),
    "robust_mean": 0.98,
    "wide": {
        "moved": {name: {"chain": 0.98, "alone": 0.984} for name in MOVES},
        "ece": {"0": 0.001, "0.25": 0.001, "0.5": 0.006, "0.75": 0.01, "1": 0.02},
        "is_digit": {"0": JUDGED, "0.5": JUDGED},
    },
    "psnr_db": {"0.5": 20.1},
    "ssim": {"0.5": 0.87},
}


def test_every_target_has_a_line_with_its_verdict():
    lines = table(RESULTS).splitlines()

    assert len(lines) == 2 + len(TARGETS)
    assert "| chain, clean images, % | ≥ 99.5 | ≥ 99.6 | 99.51 | met |" in lines
    assert "| chain, Gaussian 0.5, % | ≥ 98.3 | ≥ 98.6 | 98.10 | missed |" in lines
    assert "| most lost by always denoising: clean, moved, scribbled; points | ≤ 0.3 | ≤ 0 | 0.40 | missed |" in lines
    assert "| calibration error (ECE), worst of 0.75, 1 | ≤ 0.02 | ≤ 0.003 | 0.0200 | met |" in lines


@pytest.mark.parametrize("model", ["denoiser", "classifier"])
def test_the_readme_shows_the_shipped_cards_figures(model):
    card = json.loads((MODELS / model / str(SHIPPED) / "model_card.json").read_text())

    assert table(card["results"]) in (ROOT / "training" / "README.md").read_text()
    assert card["training"]["command"] in (ROOT / "training" / "README.md").read_text()
