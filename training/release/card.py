"""The model card: what a version is, how to make it again, and how good it was found to be."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import keras

from training.config import TrainingConfig
from training.data.dataset import Dataset
from training.export.versions import INPUT, SIGNATURE, Exportable
from training.measure.measurements import DRAWS, SEED, Measurements

LIBRARIES = ("keras", "tensorflow", "numpy", "onnx", "tf2onnx", "onnxruntime")


def make_card(
    exportable: Exportable,
    *,
    number: int,
    chain: Mapping[str, int],
    config: TrainingConfig,
    data: Dataset,
    epochs: int,
    minutes: float,
    measured: Measurements,
    note: str | None = None,
) -> dict[str, Any]:
    """Everything a reader of the version folder needs to know; `chain` names the versions measured together."""
    return {
        "name": exportable.name,
        "version": number,
        "chain": dict(chain),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "signature": {
            "name": SIGNATURE,
            "inputs": {INPUT: ["float32", _sizes(exportable.model.input_shape)]},
            "outputs": {name: ["float32", _sizes(tensor.shape)] for name, tensor in exportable.tensors.items()},
        },
        "parameters": _count(exportable.model),
        "training": {
            "command": config.command(),
            **config.as_dict(),
            "epochs": epochs,
            "minutes": round(minutes, 1),
            "note": note,
            "data": "MNIST",
            "data_sha256": dict(data.sha256),
            "extra": data.extra.described() if data.extra else None,
        },
        "results": results(measured),
        "libraries": {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
        "license": "Apache-2.0",
    }


def results(measured: Measurements) -> dict[str, Any]:
    """What was measured, and on which draws."""
    return {"noise_seed": SEED, "gaussian_draws": DRAWS, **_rounded(measured.as_dict())}


def _sizes(shape: tuple[int | None, ...]) -> list[int]:
    return [-1 if size is None else size for size in shape]


def _count(model: keras.Model) -> int:
    return int(model.count_params())


def _rounded(value: Any) -> Any:
    """Figures as they are quoted: five digits, and nothing of float noise in a committed file."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return round(value, 5) if isinstance(value, float) else value
