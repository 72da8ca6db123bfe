"""Were a version's files signed with a key? In Sigstore's format, as `make sign` and the tool `model_signing` write it.

A signature covers every file of the folder, the model card with them. The library is optional
(requirements/signing.txt) and large, so that only a server that checks imports it.
"""

import ast
from collections.abc import Callable
from pathlib import Path

from services.core.errors import ConfigError
from services.core.model_digest import SIGNATURE_FILE
from services.model_server.engines.base import LoadError

_MISMATCH = "Signature mismatch: "  # and Python's text of a list of sentences


def signature_check(public_key: Path) -> Callable[[Path], None]:
    """A function that raises LoadError for a folder that the key's owner did not sign; ConfigError if there is none."""
    try:
        from cryptography.exceptions import InvalidSignature
        from model_signing import hashing, verifying
    except ImportError as exc:
        raise ConfigError(
            f"--verify_signatures needs packages of its own ({exc}): pip install --require-hashes "
            "-r requirements/signing.txt"
        ) from exc
    try:
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    except (OSError, ValueError, AttributeError) as exc:  # AttributeError: a key that is not on a curve
        raise ConfigError(f"--verify_signatures: {public_key} is no public key to check with: {exc}") from exc

    def check(folder: Path) -> None:
        signature = folder / SIGNATURE_FILE
        # every file counts; a new one for each folder, since what a signature leaves out is added to it
        files = hashing.Config().set_ignored_paths(paths=[SIGNATURE_FILE], ignore_git_paths=False)
        try:
            verifier.set_hashing_config(files).verify(folder, signature)
        except FileNotFoundError as exc:
            raise LoadError(f"{folder} is not signed: {exc.filename} is missing") from exc
        except InvalidSignature as exc:
            raise LoadError(f"{signature} was not made with the key that belongs to {public_key}") from exc
        except ValueError as exc:
            raise LoadError(f"{folder} is not what was signed: {_differences(str(exc))}") from exc
        except (OSError, LookupError, TypeError, AttributeError) as exc:
            raise LoadError(f"{signature} cannot be read: {exc!r}") from exc

    return check


def _differences(said: str) -> str:
    """What the library says, without the digests, which it prints as bytes: `Hash mismatch for 'model.onnx'`."""
    if not said.startswith(_MISMATCH):
        return said
    differences = ast.literal_eval(said.removeprefix(_MISMATCH))
    return "; ".join(difference.partition(": Expected ")[0] for difference in differences)
