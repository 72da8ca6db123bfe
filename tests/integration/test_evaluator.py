"""The evaluator against the real stack: what comes over HTTP is what the models say in-process, to the last digit."""

import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import requests

from deploy.stack.chain import wait_until
from services.evaluator.__main__ import main
from services.evaluator.measure.results import read
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
         "--levels", "0", "0.5", "--latency-requests", "20", "--lines", "2", "--report", str(tmp_path / "report")]
    )  # fmt: skip

    found = read(tmp_path / "report" / "evaluation.json")
    assert status == 0
    assert found.complete
    assert found.equality.equal
    assert found.equality.images == 2 * 3 * 64
    assert found.equality.largest <= 1e-5
    assert [case.errors for case in found.latencies] == [0] * 5
    assert all(case.stages_ms["denoise"] > 0 for case in found.latencies if "classify only" not in case.case)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_run_that_is_ended_keeps_what_it_has_measured(stack, tmp_path, number):
    pixels, labels = digits(500)
    np.savez(tmp_path / "digits.npz", x=pixels, y=labels)
    report = tmp_path / "report"
    asked = requests_answered(stack.url)
    process = subprocess.Popen(
        [sys.executable, "-m", "services.evaluator", "--url", stack.url, "--models", MODELS, "--report", report,
         "--dataset", tmp_path / "digits.npz"],
        stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
    )  # fmt: skip
    assert wait_until(lambda: report.exists() and requests_answered(stack.url) > asked + 20, timeout_s=60)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)

    found = read(report / "evaluation.json")
    assert process.returncode == 3, said
    assert not found.complete
    assert found.stopped_because == "stopped by the user"


def test_a_chain_without_its_denoiser_is_not_measured(stack, tmp_path, capsys):
    pixels, labels = digits(64)
    np.savez(tmp_path / "digits.npz", x=pixels, y=labels)
    stack.denoiser.kill()
    assert wait_until(lambda: requests.get(f"{stack.url}/readyz", timeout=5).status_code == 503, timeout_s=10)

    assert main(["--url", stack.url, "--dataset", str(tmp_path / "digits.npz"), "--report", str(tmp_path)]) == 3
    assert "not ready" in capsys.readouterr().err


def requests_answered(url: str) -> float:
    page = requests.get(f"{url}/metrics", timeout=5).text
    return sum(map(float, re.findall(r'^cleardigits_requests_total\{route="/v1/recognize".*\} (.*)$', page, re.M)))
