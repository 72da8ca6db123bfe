"""The estimate of a service, beside the truth: of accepted answers, with the margin that the recording rule has."""

import numpy as np
import pytest

from services.core.noise import NOISES
from services.evaluator.studies.estimate import LEVELS, MIN_CONFIDENCE, OF_REJECTED, EstimateRow, main, row
from services.gateway.config import GatewayConfig
from tests.support.tiny_models import digits, write_tiny_models


def test_only_accepted_answers_count():
    confidence = np.array([0.9, 0.8, 0.9, 0.5])
    is_digit = np.array([1.0, 1.0, 0.5, 1.0])  # the third is unlikely to be a digit, the fourth is unsure
    found = row("gaussian", 0.5, confidence, is_digit, np.array([True, False, True, True]))

    assert (found.accepted, found.right) == (0.5, 0.5)
    assert found.estimated == pytest.approx(0.85)
    assert found.margin == pytest.approx(1.96 * np.sqrt(0.85 * 0.15 / 2) + OF_REJECTED * 0.5)


def test_where_nothing_is_accepted_the_margin_is_everything():
    found = row("gaussian", 1.0, np.array([0.3]), np.array([1.0]), np.array([False]))

    assert found.is_within_margin and found.margin == 1


def test_the_bar_is_the_gateway_s():
    assert GatewayConfig().min_confidence == MIN_CONFIDENCE


@pytest.mark.parametrize(
    ("off", "said"),
    [(0.004, "| +0.40 | 0.5 | met | ±1.00 |"), (0.006, "| +0.60 | 0.5 | missed | ±1.00 |"),
     (0.02, "| +2.00 | 0.5 | missed | ±1.00 **outside** |")],
)  # fmt: skip
def test_a_row_says_whether_it_is_on_target_and_within_the_margin(off, said):
    found = EstimateRow("shot", 0.5, 0.95, 0.9 + off, 0.9, 0.01)

    assert str(found) == f"| shot 0.5 | 95.00 % | {90 + 100 * off:.2f} % | 90.00 % {said}"


def test_the_report_has_every_cell_and_the_exit_status_says_whether_margins_hold(tmp_path, capsys):
    pictures, labels = digits(50)
    np.savez(tmp_path / "set.npz", x_test=pictures, y_test=labels)
    write_tiny_models(tmp_path / "models")
    page = tmp_path / "page.md"

    status = main(["--models", str(tmp_path / "models"), "--dataset", str(tmp_path / "set.npz"), "--report", str(page)])

    said = page.read_text()
    assert status == int("**outside**" in said)
    assert sum(line.startswith("| ") for line in said.splitlines()) == 2 + 1 + len(NOISES) * (len(LEVELS) - 1)
    assert f"{1 + len(NOISES) * (len(LEVELS) - 1)} meet the target" in said
    assert capsys.readouterr().out.splitlines()[-1] == said.splitlines()[-1]
