"""The folder of captures, looked at before the gateway starts.

A full disk or a lock of another process may pass and costs captures alone; what is found here does not pass.
"""

import os
from pathlib import Path

from services.core.errors import ConfigError
from services.runtime.captures import FILE


def check_folder(folder: Path, *, setting: str) -> None:
    """Make it where it is not there. ConfigError where that fails, or where it or its files cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = list(folder.glob(f"{FILE}*"))  # SQLite's journals beside it
    except OSError as exc:
        raise ConfigError(f"{setting}={folder} cannot be used: {exc.strerror}") from exc
    for path in (folder, *files):
        if not os.access(path, os.W_OK | (os.X_OK if path is folder else 0)):
            raise ConfigError(f"{setting}={folder} cannot be used: {path} cannot be written")
