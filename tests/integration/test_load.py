"""`make load` as it runs: Locust in its own process, against gateways that are right and gateways that are not."""

import json

import numpy as np
import pytest

from services.evaluator.load import __main__ as load
from tests.support.fake_gateway import fake_gateway
from tests.support.tiny_models import digits, write_tiny_models


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_tiny_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def run(models, tmp_path):
    pixels, labels = digits(60)
    np.savez(tmp_path / "digits.npz", x=pixels, y=labels)

    def call(url, *arguments):
        return load.main(
            ["--url", url, "--models", str(models), "--dataset", str(tmp_path / "digits.npz"), "--minutes", "0.03",
             "--users", "4", "--report", str(tmp_path), *arguments]
        )  # fmt: skip

    return call


def test_a_right_gateway_passes(run, models, tmp_path, capfd):
    with fake_gateway(models) as gateway:
        assert run(gateway.url) == 0

    assert "every answer was right" in capfd.readouterr().out
    rows = {row["name"]: row for row in json.loads((tmp_path / "mix" / "load.json").read_text())["rows"]}
    assert rows["one PNG"]["requests"] > 3
    assert (tmp_path / "mix" / "report.html").stat().st_size > 1000


def test_answers_for_other_images_are_caught(run, models, capfd):
    with fake_gateway(models) as gateway:
        gateway.faults.shifted = 1
        assert run(gateway.url) == 1

    assert "FAILED" in capfd.readouterr().out


def test_open_arrivals_report_how_late_they_were(run, models, tmp_path):
    with fake_gateway(models) as gateway:
        run(gateway.url, "--profile", "open", "--rate", "30")

    rows = {row["name"]: row for row in json.loads((tmp_path / "open" / "load.json").read_text())["rows"]}
    assert rows[load.LATENESS]["requests"] > 10
    assert rows["one PNG, from when it was due"]["p50"] >= rows["one PNG"]["p50"]
    assert rows["one PNG"]["failures"] == 0
