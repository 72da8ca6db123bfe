"""With a public key, a version is served if its owner signed these files, and none other."""

import json
import shutil
import sys
from importlib.metadata import entry_points

import pytest

from services.core.errors import ConfigError
from services.model_server.app import ModelServer
from services.model_server.config import ServerConfig
from services.model_server.engines.base import LoadError
from services.model_server.metrics import ServerMetrics
from services.model_server.versions.loading import ServableLoader
from services.model_server.versions.signed_files import signature_check
from tests.support.model_server import write_scale_model
from tests.support.signing import write_keys
from training.release.signing import Signer


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return write_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    private, _ = write_keys(tmp_path_factory.mktemp("other"))
    return Signer.open(private)


@pytest.fixture
def signer(keys):
    return Signer.open(keys[0])


@pytest.fixture
def load(keys):
    return ServableLoader(metrics=ServerMetrics(), verify_signature=signature_check(keys[1]))


@pytest.fixture
def folder(tmp_path, signer):
    folder = write_scale_model(tmp_path / "scale", 1)
    (folder / "model_card.json").write_text(json.dumps({"name": "scale"}))
    signer.sign(folder)
    return folder


def test_a_signed_version_is_served(load, folder):
    assert load("scale", 1, folder).version == 1
    assert [path.name for path in folder.parent.iterdir()] == ["1"]


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def other_files_signed(folder, signer):
    """A signature of the same key, of another version."""
    other = write_scale_model(folder.parent, 2, factor=3.0)
    signer.sign(other)
    shutil.copy(other / "model.sig", folder / "model.sig")


def another_statement(folder, signer):
    """The statement of a signature changed, so that it fits changed files."""
    signature = json.loads((folder / "model.sig").read_text())
    other_files_signed(folder, signer)
    other = json.loads((folder / "model.sig").read_text())
    signature["dsseEnvelope"]["payload"] = other["dsseEnvelope"]["payload"]
    (folder / "model.sig").write_text(json.dumps(signature))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (
            lambda folder, signer: flip_a_bit(folder / "model.onnx"),
            r"1 is not what was signed: Hash mismatch for 'model\.onnx'$",
        ),
        (lambda folder, signer: flip_a_bit(folder / "model_card.json"), "mismatch for 'model_card"),
        (lambda folder, signer: (folder / "more.bin").touch(), r"Extra files .* more\.bin"),
        (lambda folder, signer: (folder / ".gitignore").touch(), r"Extra files .*\.gitignore"),
        (lambda folder, signer: (folder / "model_card.json").unlink(), "Missing files .*model_card"),
        (lambda folder, signer: (folder / "link").symlink_to("model.onnx"), "not what was signed: .*link"),
        (lambda folder, signer: (folder / "model.sig").unlink(), r"is not signed: .*model\.sig is missing"),
        (other_files_signed, "mismatch for 'model"),
        (another_statement, "was not made with the key that belongs to"),
    ],
)
def test_a_version_that_is_not_what_was_signed_is_refused(load, folder, signer, spoil, complaint):
    spoil(folder, signer)

    with pytest.raises(LoadError, match=complaint):
        load("scale", 1, folder)
    assert load.metrics.value("/tensorflow/cc/saved_model/load_attempt_count") == 1  # what the alert counts


def test_the_signature_of_another_key_is_refused(load, folder, stranger):
    stranger.sign(folder)

    with pytest.raises(LoadError, match="Key mismatch"):
        load("scale", 1, folder)


def test_a_signature_that_only_names_the_right_key_is_refused(load, folder, stranger):
    """The name of the key in it is not signed."""
    named = json.loads((folder / "model.sig").read_text())["verificationMaterial"]
    stranger.sign(folder)
    signature = json.loads((folder / "model.sig").read_text())
    (folder / "model.sig").write_text(json.dumps({**signature, "verificationMaterial": named}))

    with pytest.raises(LoadError, match="was not made with the key that belongs to"):
        load("scale", 1, folder)


@pytest.mark.parametrize(
    "content",
    ["", "{", "{}", "[]", "null", '{"verificationMaterial": {}}', '{"verificationMaterial": {"publicKey": {}}}'],
)
def test_a_file_that_is_no_signature_is_refused(load, folder, content):
    (folder / "model.sig").write_text(content)

    with pytest.raises(LoadError, match=r"1/model\.sig cannot be read|1 is not what was signed"):
        load("scale", 1, folder)


def test_a_signature_without_a_signature_is_refused(load, folder):
    signature = json.loads((folder / "model.sig").read_text())
    signature["dsseEnvelope"]["signatures"] = []
    (folder / "model.sig").write_text(json.dumps(signature))

    with pytest.raises(LoadError, match=r"model\.sig cannot be read|is not what was signed"):
        load("scale", 1, folder)


def test_what_one_signature_leaves_out_counts_in_the_next_version(load, folder, keys, tool):
    """model_signing's own tool can leave files out, and says so in what it signs."""
    (folder / "notes.txt").write_text("left out")
    paths = [str(folder), "--signature", str(folder / "model.sig"), "--ignore-paths", str(folder / "notes.txt")]
    tool("sign", "key", *paths, "--private_key", str(keys[0]))
    assert load("scale", 1, folder).version == 1
    (folder / "notes.txt").unlink()
    Signer.open(keys[0]).sign(folder)
    (folder / "notes.txt").write_text("more")

    with pytest.raises(LoadError, match=r"Extra files .*notes\.txt"):
        load("scale", 1, folder)


@pytest.fixture
def tool():
    """The command `model_signing` of the library, in this process."""
    (command,) = entry_points(group="console_scripts", name="model_signing")
    return lambda *arguments: command.load()(list(arguments), standalone_mode=False)


def test_the_librarys_own_tool_signs_for_us_and_checks_ours(load, folder, keys, tool):
    private, public = map(str, keys)
    signature = str(folder / "model.sig")
    tool("verify", "key", str(folder), "--signature", signature, "--public_key", public)
    (folder / "model.sig").unlink()

    tool("sign", "key", str(folder), "--signature", signature, "--private_key", private)

    assert load("scale", 1, folder).version == 1


def test_without_the_flag_nothing_is_checked(folder):
    (folder / "model.sig").unlink()

    assert ServableLoader(metrics=ServerMetrics())("scale", 1, folder).version == 1


def test_a_key_that_cannot_be_checked_with_ends_the_start(tmp_path, folder):
    private, rsa = write_keys(tmp_path / "rsa", on_a_curve=False)
    for path in (tmp_path / "gone.pub", private, rsa, folder):
        with pytest.raises(ConfigError, match="is no public key to check with"):
            signature_check(path)
    with pytest.raises(ConfigError, match=r"gone\.pub is no public key to check with"):
        ModelServer(ServerConfig(model_base_path=str(folder.parent), verify_signatures=str(tmp_path / "gone.pub")))


def test_without_the_library_the_error_says_what_to_install(monkeypatch, keys):
    monkeypatch.setitem(sys.modules, "model_signing", None)

    with pytest.raises(ConfigError, match=r"requirements/signing\.txt"):
        signature_check(keys[1])
