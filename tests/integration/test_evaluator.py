"""The evaluator against the real stack: what comes over HTTP is what the models say in-process, to the last digit."""

import numpy as np
import pytest

from services.evaluator.__main__ import main
from services.evaluator.results import read
from tests.support.stack import MODELS, running_stack
from tests.support.tiny_models import digits


@pytest.fixture(scope="module")
def stack():
    with running_stack() as running:
        yield running


def test_the_real_chain_equals_its_models_in_process(stack, tmp_path):
    pixels, labels = digits(64)
    np.savez(tmp_path / "digits.npz", x=pixels, y=labels)

    status = main(
        ["--url", stack.url, "--models", str(MODELS), "--dataset", str(tmp_path / "digits.npz"), "--noise", "gaussian",
         "--levels", "0", "0.5", "--latency-requests", "20", "--report", str(tmp_path / "report")]
    )  # fmt: skip

    found = read(tmp_path / "report" / "evaluation.json")
    assert status == 0
    assert found.complete
    assert found.equality.equal
    assert found.equality.images == 2 * 3 * 64
    assert found.equality.largest <= 1e-5
    assert [case.errors for case in found.latencies] == [0] * 5
    assert all(case.stages_ms["denoise"] > 0 for case in found.latencies if "classify only" not in case.case)


def test_a_chain_without_its_denoiser_is_not_measured(stack, tmp_path, capsys):
    pixels, labels = digits(64)
    np.savez(tmp_path / "digits.npz", x=pixels, y=labels)
    stack.denoiser.kill()

    assert main(["--url", stack.url, "--dataset", str(tmp_path / "digits.npz"), "--report", str(tmp_path)]) == 3
    assert "not ready" in capsys.readouterr().err
