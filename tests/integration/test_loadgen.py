"""MLPerf LoadGen itself against a gateway: valid when answers are right, INVALID when they are not."""

import json

import numpy as np
import pytest

from services.evaluator.loadgen import __main__ as loadgen
from tests.support.fake_gateway import fake_gateway
from tests.support.tiny_models import digits, write_tiny_models


@pytest.fixture
def run(tmp_path):
    models = write_tiny_models(tmp_path / "models")
    pixels, labels = digits(60)
    np.savez(tmp_path / "digits.npz", x=pixels, y=labels)
    with fake_gateway(models) as gateway:

        def call(*arguments):
            status = loadgen.main(
                ["--url", gateway.url, "--models", str(models), "--dataset", str(tmp_path / "digits.npz"),
                 "--seconds", "0.5", "--report", str(tmp_path / "logs"), "--scenarios", *arguments]
            )  # fmt: skip
            return status, json.loads((tmp_path / "logs" / "loadgen.json").read_text())

        yield gateway, call


def test_offline_and_accuracy_of_a_right_gateway(run, tmp_path):
    _, call = run
    status, found = call("Offline", "Accuracy")

    assert status == 0
    assert found["runs"][-1]["verdict"]["valid"]
    assert found["accuracy"]["digits_differ"] == 0
    assert found["accuracy"]["images"] == 60
    assert (tmp_path / "logs" / "Offline" / "mlperf_log_summary.txt").is_file()


def test_what_the_client_takes_alone_stands_beside_its_latencies(run, capsys):
    _, call = run
    status, found = call("SingleStream")

    [single] = found["runs"]
    assert status == 0
    assert 0 < single["floor"]["p50_ms"] < single["verdict"]["figures"]["p50_ms"]
    assert f"{single['floor']['p50_ms']:.2f} /" in capsys.readouterr().out


def test_wrong_answers_make_a_run_invalid_however_fast(run, capsys):
    gateway, call = run
    gateway.faults.wrong_digit = True
    status, found = call("Offline", "Accuracy")

    assert status == 1
    assert found["runs"][-1]["mistakes"]["wrong digit"] > 0
    assert found["accuracy"]["digits_differ"] == 60
    assert "INVALID" in capsys.readouterr().out
