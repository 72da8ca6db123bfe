"""Labelled digits to send: MNIST's test images, any npz file, or a folder of pictures named by class."""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from services.core import images
from services.core.errors import InvalidInputError
from services.core.noise import Images
from services.evaluator.data import mnist
from services.evaluator.errors import DatasetError

SIDE_PX = 28
MAX_PIXELS = 1 << 24
PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}


@dataclass(frozen=True, slots=True)
class Dataset:
    """Clean images with their labels; `sha256` is of the pixels, not of the file they came in."""

    name: str
    images: Images
    labels: NDArray[np.int64]
    sha256: str
    is_captured: bool = False  # pictures as users sent them: no noise is added unless asked for

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> Dataset:
        """The first `count` images: the same ones in every run."""
        return dataclasses.replace(self, images=self.images[:count], labels=self.labels[:count])


def load(path: Path | None = None) -> Dataset:
    """Read an npz file or a folder, or MNIST when none is named; raises DatasetError with what is wrong."""
    path = path or mnist.find()
    if path.is_dir():
        return _from_folder(path)
    if not path.is_file():
        raise DatasetError(f"there is no data at {path}: {mnist.WAYS}")
    if not zipfile.is_zipfile(path):
        raise DatasetError(f"cannot read {path}: it is no .npz file, nor a folder of pictures")
    return _from_npz(path)


def unlabelled(folder: Path) -> Images:
    """Every picture of a folder, by name; DatasetError where there is none, or one cannot be read."""
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in PICTURES)
    if not files:
        raise DatasetError(f"{folder} has no pictures ({', '.join(sorted(PICTURES))})")
    pixels = np.stack([_read_picture(path) for path in files])
    return (pixels[..., np.newaxis] / np.float32(255)).astype(np.float32, copy=False)


def _from_npz(path: Path) -> Dataset:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            names = ("x_test", "y_test") if "x_test" in file else ("x", "y")
            pixels, labels = (file[name] for name in names)
            is_captured = "no_digit" in file  # as `make corrections` exports them
    except KeyError as exc:
        raise DatasetError(f"{path} holds neither x_test and y_test (MNIST) nor x and y") from exc
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as exc:
        raise DatasetError(f"cannot read {path}: {exc}") from exc
    dataset = dataclasses.replace(_checked(path.name, pixels, labels), is_captured=is_captured)
    return dataclasses.replace(dataset, name="MNIST test") if dataset.sha256 == mnist.SHA256["x_test"] else dataset


def _from_folder(folder: Path) -> Dataset:
    """`folder/<digit>/*.png`: white on black, brought to 28x28."""
    files = sorted(path for path in folder.glob("[0-9]/*") if path.suffix.lower() in PICTURES)
    if not files:
        raise DatasetError(f"{folder} has no pictures in folders named 0 to 9 ({', '.join(sorted(PICTURES))})")
    pixels = np.stack([_read_picture(path) for path in files])
    return _checked(folder.name, pixels, np.array([int(path.parent.name) for path in files]))


def _read_picture(path: Path) -> NDArray[np.uint8]:
    try:
        picture = images.decode(path.read_bytes(), max_pixels=MAX_PIXELS)
    except (InvalidInputError, OSError) as exc:
        raise DatasetError(f"cannot read the picture {path}: {exc}") from exc
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY if picture.shape[2] == 3 else cv2.COLOR_BGRA2GRAY)
    return cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _checked(name: str, pixels: np.ndarray, labels: np.ndarray) -> Dataset:
    if pixels.dtype != np.uint8 or pixels.shape[1:] not in {(SIDE_PX, SIDE_PX), (SIDE_PX, SIDE_PX, 1)}:
        raise DatasetError(f"{name}: images have to be uint8 (n, 28, 28), not {pixels.dtype} {pixels.shape}")
    if labels.shape != pixels.shape[:1] or not len(labels) or not np.issubdtype(labels.dtype, np.integer):
        raise DatasetError(f"{name}: {len(pixels)} images need as many whole-number labels, not {labels.shape}")
    if labels.min() < 0 or labels.max() > 9:
        raise DatasetError(f"{name}: labels are digits from 0 to 9, not {labels.min()} to {labels.max()}")
    scaled = (pixels.reshape(-1, SIDE_PX, SIDE_PX, 1) / np.float32(255)).astype(np.float32, copy=False)
    return Dataset(name, scaled, labels.astype(np.int64), hashlib.sha256(pixels.tobytes()).hexdigest())
