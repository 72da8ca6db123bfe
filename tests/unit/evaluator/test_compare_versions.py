"""The command, with gateways of their own in the place of labels."""

import dataclasses
import json

import pytest

from services.evaluator import compare_versions
from services.evaluator.corrections import export
from tests.support.captured import capture
from tests.support.fake_gateway import fake_gateway
from tests.support.tiny_models import digits


@pytest.fixture
def other(tiny_models):
    """A second gateway, which says that it is another version."""
    with fake_gateway(tiny_models) as running:
        running.faults.version = 2
        yield running


@pytest.fixture
def compare(gateway, other, tiny_dataset, tmp_path):
    def run(*arguments):
        folder = tmp_path / "report"
        names = [gateway.url, other.url, "--dataset", str(tiny_dataset), "--report", str(folder), *arguments]
        return compare_versions.main(names), folder

    return run


def test_two_gateways_that_read_alike(compare, capsys):
    status, folder = compare("--images", "100", "--require", "agreement>=1", "--require", "accuracy>=0.9")
    said = capsys.readouterr().out
    kept = json.loads((folder / "versions.json").read_text())

    assert status == 0
    assert "clean: 100 pictures, agreement 100.00 %" in said and "gaussian 0.5: 100 pictures" in said
    assert [kept["first"][1], kept["second"][1]] == ["denoiser 1, classifier 1", "denoiser 2, classifier 2"]
    assert [each["total"] for each in kept["verdicts"]] == [100, 100, 200]


def test_below_what_is_required_is_status_1(compare, other, capsys):
    other.faults.wrong_digit = True
    status, _ = compare("--noise", "--require", "accuracy>=0.5")

    assert status == compare_versions.MISSED
    assert "accuracy>=0.5: MISSED, 0.0000" in capsys.readouterr().out


def test_a_version_that_changes_meanwhile_compares_nothing(compare, other, capsys):
    other.faults.versions_move = True

    assert compare("--noise")[0] == 3
    assert "a version changed" in capsys.readouterr().err


def test_a_gateway_that_is_not_there_is_status_3(gateway, tmp_path, capsys):
    assert compare_versions.main([gateway.url, "http://127.0.0.1:9", "--report", str(tmp_path)]) == 3
    assert "no gateway at http://127.0.0.1:9" in capsys.readouterr().err


def test_corrections_are_compared_as_they_came(gateway, other, tmp_path, capsys):
    pixels, labels = digits(30)
    kept = [
        dataclasses.replace(capture("a", place, pixels=picture), label=int(label))
        for place, (picture, label) in enumerate(zip(pixels, labels, strict=True))
    ]
    (tmp_path / "corrections.npz").write_bytes(export.npz(kept))
    names = [gateway.url, other.url, "--dataset", str(tmp_path / "corrections.npz"), "--report", str(tmp_path / "r")]

    assert compare_versions.main(names) == 0
    assert [each["total"] for each in json.loads((tmp_path / "r/versions.json").read_text())["verdicts"]] == [30, 30]
    assert compare_versions.main([*names, "--noise", "gaussian"]) == 0
    assert "gaussian 0.5: 30 pictures" in capsys.readouterr().out
