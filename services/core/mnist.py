"""MNIST as Keras publishes it: where the file is looked for, and what proves that arrays are MNIST's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

SHA256: Mapping[str, str] = MappingProxyType(
    {
        "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
        "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
        "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
        "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
    }
)


def named(environ: Mapping[str, str]) -> Path | None:
    """The file that `CLEARDIGITS_MNIST` names."""
    path = environ.get("CLEARDIGITS_MNIST")
    return Path(path) if path else None


def cached(environ: Mapping[str, str]) -> Path:
    """Where Keras keeps the file, which need not be there."""
    return Path(environ.get("KERAS_HOME", Path.home() / ".keras")) / "datasets" / "mnist.npz"


def sha256(array: np.ndarray) -> str:
    """The hash of an array's bytes, not of the file it came in."""
    return hashlib.sha256(array.tobytes()).hexdigest()
