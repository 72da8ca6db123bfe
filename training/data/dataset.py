"""MNIST: find the file, prove that it is MNIST, scale it, split a validation set off the training images.

Looked for in this order: an explicit path (`--mnist` or `CLEARDIGITS_MNIST`), Keras's cache, a download through Keras.
Wherever it came from, the arrays' bytes have to match the published ones.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from services.core import mnist
from services.core.noise import Images
from training.errors import DataError

WAYS = (
    "pass --mnist PATH, set CLEARDIGITS_MNIST=PATH, or go online once so that Keras can put mnist.npz into its cache "
    "(~/.keras/datasets)"
)


@dataclass(frozen=True, slots=True)
class Digits:
    """Clean pictures and what they show."""

    images: Images
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: slice | np.ndarray) -> Digits:
        return Digits(self.images[index], self.labels[index])


@dataclass(frozen=True, slots=True)
class Pictures:
    """Labelled digits, and pictures that show none, as a model got them, with the noise they came with."""

    digits: Digits
    no_digit: Images

    def __len__(self) -> int:
        return len(self.digits) + len(self.no_digit)


@dataclass(frozen=True, slots=True)
class Extra:
    """A user's labelled pictures (extra.py): those trained on and those held back for the release gate."""

    name: str
    sha256: str
    train: Pictures
    held_back: Pictures

    def described(self) -> dict[str, Any]:
        """For the model cards."""
        return {
            "file": self.name,
            "sha256": self.sha256,
            "digits": len(self.train.digits) + len(self.held_back.digits),
            "no_digit": len(self.train.no_digit) + len(self.held_back.no_digit),
            "held_back": len(self.held_back),
        }


@dataclass(frozen=True, slots=True)
class Dataset:
    """Three sets that share no picture. Choices are made on `validation`; `test` is for the final figures only."""

    train: Digits
    validation: Digits
    test: Digits
    sha256: Mapping[str, str]
    extra: Extra | None = None

    def with_validation_share(self, share: float) -> Dataset:
        """The same pictures, with another share of the training images held back."""
        images = np.concatenate([self.validation.images, self.train.images])
        everything = Digits(images, np.concatenate([self.validation.labels, self.train.labels]))
        held_back = round(share * len(everything))
        return Dataset(everything[held_back:], everything[:held_back], self.test, self.sha256)


def load_mnist(path: Path | None = None) -> dict[str, np.ndarray]:
    """The four uint8 arrays of MNIST, checked; raises DataError when there is no file or it is not MNIST."""
    arrays = read_arrays(_find(path))
    for name, expected in mnist.SHA256.items():
        if (found := mnist.sha256(arrays[name])) != expected:
            raise DataError(f"{name} is not MNIST's: SHA-256 {found}, expected {expected}")
    return arrays


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read an npz file in the layout of Keras's mnist.npz; raises DataError when it is not whole."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in mnist.SHA256}
    except (OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as exc:  # TypeError: .npy
        raise DataError(f"cannot read the four MNIST arrays from {path}: {exc}") from exc


def split(arrays: Mapping[str, np.ndarray], *, validation: int, seed: int) -> Dataset:
    """Scale to [0, 1] and move `validation` training images, drawn by `seed`, into a set of their own."""
    if validation >= (images := len(arrays["y_train"])):
        raise DataError(f"{validation:,} images held back of {images:,} leave none to train on")
    order = np.random.default_rng(seed).permutation(images)
    train = _digits(arrays["x_train"], arrays["y_train"])
    return Dataset(
        train=train[order[validation:]],
        validation=train[order[:validation]],
        test=_digits(arrays["x_test"], arrays["y_test"]),
        sha256={name: mnist.sha256(arrays[name]) for name in mnist.SHA256},
    )


def _digits(pixels: np.ndarray, labels: np.ndarray) -> Digits:
    return Digits((pixels / np.float32(255)).astype(np.float32)[..., None], labels.astype(np.int32))


def _find(path: Path | None) -> Path:
    if path is not None:
        if not path.is_file():
            raise DataError(f"there is no file {path}; {WAYS}")
        return path
    cached = mnist.cached(os.environ)
    if not cached.is_file():
        import keras  # slow to import, and a file makes it unnecessary

        try:
            keras.datasets.mnist.load_data()  # downloads into the cache and checks the file's hash
        except Exception as exc:
            raise DataError(f"no MNIST here and no download possible ({exc}); {WAYS}") from exc
    return cached


def mnist_path(argument: Path | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The explicit path, if one was given: the flag wins over `CLEARDIGITS_MNIST`."""
    return argument or mnist.named(environ)
