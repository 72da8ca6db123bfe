"""The release gate compares headline accuracies and refuses a loss of more than 0.2 points."""

import pytest

from training.errors import GateError
from training.release import gate

CURRENT = {"clean": 0.995, "gaussian 0.5": 0.982}


@pytest.mark.parametrize("change", [0.01, 0.0, -0.0019])
def test_a_pair_that_is_about_as_good_passes(change):
    gate.check({name: value + change for name, value in CURRENT.items()}, CURRENT)


def test_a_loss_at_one_level_is_refused_with_the_comparison():
    with pytest.raises(GateError) as refusal:
        gate.check({"clean": 0.999, "gaussian 0.5": 0.979}, CURRENT)

    assert refusal.value.exit_status == 3
    assert "worse at gaussian 0.5\n" in str(refusal.value)
    assert "98.20   97.90   -0.30" in str(refusal.value)


def test_extra_pictures_may_not_be_read_worse_at_all():
    current = CURRENT | {gate.EXTRA: 0.9, gate.EXTRA_NO_DIGIT: 0.8}
    gate.check(current | {gate.EXTRA: 0.95}, current)

    for name in (gate.EXTRA, gate.EXTRA_NO_DIGIT):
        with pytest.raises(GateError, match=f"worse at {name}"):
            gate.check(current | {name: current[name] - 0.001}, current)


def test_an_empty_models_folder_has_nothing_to_compare_with(tmp_path):
    assert gate.measure_current(tmp_path, digits=None) is None
