"""Sign versions with a local key, in the format of Sigstore's model-signing: `model.sig` beside the model card.

python -m training.release.signing key.pem                          # the newest version of both models
python -m training.release.signing key.pem models/denoiser/5        # this one
python -m training.release.signing key.pem --key-passphrase-file passphrase.txt

The passphrase of an encrypted key comes from a file or from CLEARDIGITS_KEY_PASSPHRASE, never from the command line,
which other users of the machine can read.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from services.core.model_digest import SIGNATURE_FILE, newest
from training.errors import SigningError, TrainingError

if TYPE_CHECKING:  # optional: requirements/signing.txt
    from model_signing.signing import Config


PASSPHRASE = "CLEARDIGITS_KEY_PASSPHRASE"
PASSPHRASE_FILE = "--key-passphrase-file"


class Signer:
    """A private key on an elliptic curve (P-256, P-384 or P-521), in PEM, encrypted or not."""

    def __init__(self, config: Config) -> None:
        self._config = config

    @classmethod
    def open(cls, key: Path, passphrase_file: Path | None = None) -> Self:
        """Before a long run, so that it does not end without a key; SigningError says what is wrong.

        An encrypted key's passphrase is read from the file, else from CLEARDIGITS_KEY_PASSPHRASE.
        """
        try:
            from model_signing import hashing, signing
        except ImportError as exc:
            command = f"{sys.executable} -m pip install --require-hashes -r requirements/signing.txt"
            raise SigningError(f"signing needs packages of its own ({exc}): {command}") from exc
        passphrase: Any = _passphrase(passphrase_file)  # bytes: the library says str, which its own call refuses
        try:
            config = signing.Config().use_elliptic_key_signer(private_key=key, password=passphrase)
        except (OSError, ValueError, TypeError, AttributeError) as exc:  # encrypted; not on a curve
            hint = f" ({PASSPHRASE_FILE} or {PASSPHRASE})" if passphrase is None and "encrypted" in str(exc) else ""
            raise SigningError(f"{key} is no private key to sign with: {exc}{hint}") from exc
        files = hashing.Config().set_ignored_paths(paths=[SIGNATURE_FILE], ignore_git_paths=False)
        return cls(config.set_hashing_config(files))

    def sign(self, folder: Path) -> None:
        """Put `model.sig` into a version's folder, whole, in the place of the one that is there."""
        try:
            with tempfile.TemporaryDirectory(prefix=".tmp-", dir=folder.parent) as hidden:
                signature = Path(hidden) / SIGNATURE_FILE
                self._config.sign(folder, signature)
                signature.replace(folder / SIGNATURE_FILE)
        except (OSError, ValueError) as exc:
            raise SigningError(f"{folder} cannot be signed: {exc}") from exc


def main(argv: Sequence[str] | None = None) -> int:
    """Sign folders of versions; answers the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training.release.signing", description=__doc__.splitlines()[0])
    parser.add_argument("key", type=Path, help="the private key, in PEM")
    parser.add_argument("folders", type=Path, nargs="*", help="of versions (default: the newest of both models)")
    parser.add_argument("--models", type=Path, default=Path("models"), help="default: %(default)s")
    add_passphrase_file(parser)
    args = parser.parse_args(argv)
    try:
        signer = Signer.open(args.key, args.key_passphrase_file)
        folders = args.folders or _newest(args.models)
        for folder in folders:
            if not folder.resolve().name.isdecimal():  # the folder of all versions, say: no server looks there
                raise SigningError(f"{folder} is no version: its name is no number")
        for folder in folders:
            signer.sign(folder)
            print(f"signed {folder}")
    except TrainingError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_status
    return 0


def add_passphrase_file(parser: argparse.ArgumentParser) -> None:
    """The option, for every command that signs."""
    parser.add_argument(
        PASSPHRASE_FILE, type=Path, metavar="FILE", help=f"the passphrase of an encrypted key (default: {PASSPHRASE})"
    )


def _passphrase(file: Path | None) -> bytes | None:
    if file is None:
        return os.environ[PASSPHRASE].encode() if os.environ.get(PASSPHRASE) else None
    try:
        passphrase = file.read_bytes().rstrip(b"\r\n")
    except OSError as exc:
        raise SigningError(f"{PASSPHRASE_FILE} {file}: {exc.strerror or exc}") from exc
    if not passphrase:
        raise SigningError(f"{PASSPHRASE_FILE} {file}: no passphrase in it")
    return passphrase


def _newest(models: Path) -> list[Path]:
    try:
        return [models / name / str(newest(models / name)) for name in ("denoiser", "classifier")]
    except FileNotFoundError as exc:
        raise SigningError(str(exc)) from exc


if __name__ == "__main__":
    sys.exit(main())
