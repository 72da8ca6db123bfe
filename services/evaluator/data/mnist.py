"""Getting MNIST once where it is not: the file that Keras keeps, in the place where Keras keeps it."""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import requests

from services.core import mnist
from services.evaluator.errors import DatasetError

URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
SHA256 = {name: mnist.SHA256[name] for name in ("x_test", "y_test")}
TIMEOUT_S = 30.0
WAYS = "pass --dataset PATH or set CLEARDIGITS_MNIST=/path/to/mnist.npz"


def find(environ: Mapping[str, str] = os.environ, *, url: str = URL) -> Path:
    """`CLEARDIGITS_MNIST` if it is set, else Keras's cache, into which the file is fetched when it is not there."""
    if named := mnist.named(environ):
        return named
    cached = mnist.cached(environ)
    if not cached.is_file():
        _save(_fetch(url), cached)
    return cached


def _fetch(url: str) -> bytes:
    """The file's bytes, once its test arrays have proved to be MNIST's."""
    try:
        response = requests.get(url, timeout=TIMEOUT_S)
        response.raise_for_status()
        with np.load(io.BytesIO(response.content), allow_pickle=False) as file:
            found = {name: mnist.sha256(file[name]) for name in SHA256}
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
