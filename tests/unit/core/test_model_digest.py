"""A digest names the files of a version, and a shell finds the same one."""

import subprocess

import pytest

from services.core.model_digest import Pair, file_digests, newest, pair, stamps, version_digest


@pytest.fixture
def models(tmp_path):
    """Two models of two versions each."""
    for name in ("denoiser", "classifier"):
        for number in (2, 10):
            version = tmp_path / name / str(number)
            (version / "variables").mkdir(parents=True)
            (version / "model.onnx").write_text(f"{name} {number}")
            (version / "variables/variables.index").write_text("weights")
            (version / "model_card.json").write_text("{}")
    return tmp_path


def test_the_digest_is_what_the_documented_shell_command_prints(models):
    version = models / "denoiser/2"
    command = (
        r"find . -type f -not -path ./model_card.json -not -path ./model.sig -printf '%P\n' "
        "| LC_ALL=C sort | xargs sha256sum | sha256sum"
    )
    (version / "model.sig").write_text("{}")

    printed = subprocess.run(command, shell=True, cwd=version, check=True, capture_output=True, text=True).stdout
    assert printed.split()[0] == version_digest(version)


def test_every_file_but_the_card_and_its_signature_has_a_digest(models):
    (models / "denoiser/2/model.sig").write_text("{}")

    assert list(file_digests(models / "denoiser/2")) == ["model.onnx", "variables/variables.index"]


@pytest.mark.parametrize("file", ["model.onnx", "variables/variables.index"])
def test_one_changed_byte_is_another_pair(models, file):
    before = pair(models)

    (models / "classifier/10" / file).write_text("other weights")

    after = pair(models)
    assert (after.denoiser, after.classifier) == (before.denoiser, before.classifier)
    assert after.sha256 != before.sha256


def test_a_file_that_is_renamed_is_another_version(models):
    before = version_digest(models / "denoiser/2")

    (models / "denoiser/2/model.onnx").rename(models / "denoiser/2/model.tflite")

    assert version_digest(models / "denoiser/2") != before


def test_words_on_the_card_change_nothing(models):
    before = pair(models)

    (models / "denoiser/10/model_card.json").write_text('{"note": "corrected"}')

    assert pair(models) == before


def test_the_pair_is_the_newest_of_each_unless_numbers_are_given(models):
    assert newest(models / "denoiser") == 10
    assert pair(models) == pair(models, denoiser=10, classifier=10)
    assert pair(models, denoiser=2) != pair(models)


def test_a_stamp_is_found_again_in_a_page():
    stamp = str(Pair(1, 12, "0123456789abcdef" * 4))

    assert stamp == "denoiser 1, classifier 12 (files sha256:0123456789abcdef)"
    assert stamps(f"Measured on {stamp}; two cores. Not: denoiser 1, classifier 2.") == {stamp}


def test_a_folder_without_a_version_or_without_files_has_no_digest(tmp_path):
    (tmp_path / "denoiser/1").mkdir(parents=True)
    (tmp_path / "classifier").mkdir()

    with pytest.raises(FileNotFoundError, match="holds no files"):
        version_digest(tmp_path / "denoiser/1")
    with pytest.raises(FileNotFoundError, match="holds no version"):
        newest(tmp_path / "classifier")
