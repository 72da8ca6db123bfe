"""Where MNIST is, and getting it once where it is not: the file that Keras keeps, in the place where Keras keeps it."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import requests

from services.evaluator.errors import DatasetError

URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
SHA256 = {
    "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}
TIMEOUT_S = 30.0
WAYS = "pass --dataset PATH or set CLEARDIGITS_MNIST=/path/to/mnist.npz"


def find(environ: Mapping[str, str] = os.environ, *, url: str = URL) -> Path:
    """`CLEARDIGITS_MNIST` if it is set, else Keras's cache, into which the file is fetched when it is not there."""
    if named := environ.get("CLEARDIGITS_MNIST"):
        return Path(named)
    cached = Path(environ.get("KERAS_HOME", Path.home() / ".keras")) / "datasets" / "mnist.npz"
    if not cached.is_file():
        _save(_fetch(url), cached)
    return cached


def _fetch(url: str) -> bytes:
    """The file's bytes, once its test arrays have proved to be MNIST's."""
    try:
        response = requests.get(url, timeout=TIMEOUT_S)
        response.raise_for_status()
        with np.load(io.BytesIO(response.content), allow_pickle=False) as file:
            found = {name: hashlib.sha256(file[name].tobytes()).hexdigest() for name in SHA256}
    except requests.RequestException as exc:
        raise DatasetError(f"MNIST is not here and cannot be fetched ({exc}): {WAYS}") from exc
    except (KeyError, ValueError, zipfile.BadZipFile) as exc:
        raise DatasetError(f"what {url} sent is not MNIST ({exc}): {WAYS}") from exc
    if found != SHA256:
        raise DatasetError(f"what {url} sent is not MNIST, its pixels differ: {WAYS}")
    return response.content


def _save(content: bytes, path: Path) -> None:
    """Whole or not at all: others may look for the file at the same moment."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as building:
            building.write(content)
        Path(building.name).replace(path)
    except OSError as exc:
        raise DatasetError(f"cannot keep MNIST in {path.parent}: {exc.strerror}; {WAYS}") from exc
