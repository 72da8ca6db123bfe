"""Versions are signed with a local key, before they appear or where they are."""

import json
import sys

import pytest

from services.model_server.versions.signed_files import signature_check
from tests.support.digits import synthetic_mnist
from tests.support.signing import write_keys
from training import __main__ as command
from training.errors import SigningError
from training.release.signing import Signer, main


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return write_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def models(tmp_path):
    for name in ("denoiser", "classifier"):
        for number in (4, 10):
            folder = tmp_path / "models" / name / str(number)
            folder.mkdir(parents=True)
            (folder / "model.onnx").write_text(f"{name} {number}")
            (folder / "model_card.json").write_text(json.dumps({"version": number}))
    return tmp_path / "models"


def test_the_newest_version_of_both_is_signed(models, keys, capsys):
    assert main([str(keys[0]), "--models", str(models)]) == 0

    assert capsys.readouterr().out == f"signed {models}/denoiser/10\nsigned {models}/classifier/10\n"
    for name in ("denoiser", "classifier"):
        signature_check(keys[1])(models / name / "10")
        assert not (models / name / "4/model.sig").exists()
        assert sorted(path.name for path in (models / name).iterdir()) == ["10", "4"]


def test_a_version_that_is_named_is_signed_again(models, keys):
    folder = models / "denoiser/4"
    main([str(keys[0]), str(folder)])
    (folder / "model_card.json").write_text("{}")

    assert main([str(keys[0]), str(folder)]) == 0
    signature_check(keys[1])(folder)


def test_what_cannot_be_signed_with_is_one_message(models, keys, tmp_path, capsys):
    encrypted, _ = write_keys(tmp_path / "encrypted", password=b"secret")
    rsa, _ = write_keys(tmp_path / "rsa", on_a_curve=False)

    for key in (tmp_path / "gone.pem", keys[1], encrypted, rsa, tmp_path):
        assert main([str(key), "--models", str(models)]) == 1
        said = capsys.readouterr().err
        assert f"error: {key} is no private key to sign with" in said
        assert ("(--key-passphrase-file or CLEARDIGITS_KEY_PASSPHRASE)" in said) is (key == encrypted)
    assert main([str(keys[0]), "--models", str(tmp_path / "none")]) == 1
    assert "holds no version" in capsys.readouterr().err
    assert main([str(keys[0]), str(models / "denoiser/11")]) == 1
    assert "denoiser/11 cannot be signed" in capsys.readouterr().err


def test_a_folder_that_is_no_version_is_not_signed(models, keys, capsys):
    assert main([str(keys[0]), str(models / "denoiser/4"), str(models / "classifier")]) == 1

    assert f"error: {models}/classifier is no version" in capsys.readouterr().err
    assert not list(models.rglob("model.sig"))


@pytest.mark.parametrize("source", ["file", "environment"])
def test_an_encrypted_key_signs_with_its_passphrase(models, tmp_path, monkeypatch, source):
    private, public = write_keys(tmp_path / "encrypted", password="pass wörd".encode())
    arguments = [str(private), "--models", str(models)]
    if source == "file":
        file = tmp_path / "passphrase"
        file.write_text("pass wörd\n", encoding="utf-8")
        arguments += ["--key-passphrase-file", str(file)]
    else:
        monkeypatch.setenv("CLEARDIGITS_KEY_PASSPHRASE", "pass wörd")

    assert main(arguments) == 0
    signature_check(public)(models / "denoiser/10")


def test_a_wrong_or_missing_passphrase_is_one_message_that_does_not_tell_it(models, keys, tmp_path, capsys):
    encrypted, _ = write_keys(tmp_path / "encrypted", password=b"secret")
    wrong, empty = tmp_path / "wrong", tmp_path / "empty"
    wrong.write_text("hunter2")
    empty.write_text("\n")

    for key, file, message in (
        (encrypted, wrong, f"{encrypted} is no private key to sign with: "),
        (keys[0], wrong, f"{keys[0]} is no private key to sign with: "),
        (encrypted, empty, f"--key-passphrase-file {empty}: no passphrase in it"),
        (encrypted, tmp_path / "gone", f"--key-passphrase-file {tmp_path}/gone: No such file"),
    ):
        assert main([str(key), "--models", str(models), "--key-passphrase-file", str(file)]) == 1
        said = capsys.readouterr().err
        assert f"error: {message}" in said
        assert said.count("\n") == 1
        assert "hunter2" not in said


def test_a_run_is_not_begun_with_a_key_that_cannot_sign(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "load_mnist", lambda path: synthetic_mnist(train=96, test=64))
    monkeypatch.setattr(command, "mnist_path", lambda path: path)

    assert command.main(["--validation", "32", "--sign", str(tmp_path / "gone.pem")]) == 1
    assert "gone.pem is no private key to sign with" in capsys.readouterr().err


def test_without_the_library_the_error_says_what_to_install(monkeypatch, keys):
    monkeypatch.setitem(sys.modules, "model_signing", None)

    with pytest.raises(SigningError, match=r"requirements/signing\.txt"):
        Signer.open(keys[0])
