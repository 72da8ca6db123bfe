"""The models that /v2 and /v1/models offer: the chain, `digits`, and the denoiser and classifier behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from services.core.errors import InvalidInputError
from services.core.pixels import within_range
from services.gateway.api.options import DEFAULTS
from services.gateway.deadlines import Deadline
from services.gateway.models.transport import Metadata
from services.gateway.reading.reader import BlockingModel, ReaderLike

CHAIN = "digits"
CHAIN_VERSION = "1"  # of this interface; the versions of the two models are in a reply's parameters
AVAILABLE = "AVAILABLE"
SLICE_IMAGES = 256  # of one call of a single model, so that others find room between them

IMAGES = {"name": "images", "datatype": "FP32", "shape": [-1, 28, 28, 1]}
PROBABILITIES = {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}
DIGIT = {"name": "digit", "datatype": "INT64", "shape": [-1]}
DENOISED = {"name": "denoised", "datatype": "FP32", "shape": [-1, 28, 28, 1]}


@dataclass(frozen=True, slots=True)
class Inferred:
    """What a model made of images: arrays by output name, the version that made them, more to know."""

    outputs: Mapping[str, np.ndarray]
    version: str
    parameters: Mapping[str, object]


class ServedModel(Protocol):
    """One model as the protocols see it."""

    platform: str
    outputs: tuple[dict, ...]

    def versions(self) -> list[str]:
        """The versions available just now, newest first."""
        ...

    def infer(
        self, images: np.ndarray, parameters: Mapping[str, object], *, deadline: Deadline, metadata: Metadata
    ) -> Inferred:
        """Run it on images (n, 28, 28, 1)."""
        ...


def served_models(reader: ReaderLike) -> dict[str, ServedModel]:
    """All there are, by name."""
    return {
        CHAIN: ChainModel(reader),
        "denoiser": SingleModel(reader.denoiser, DENOISED),
        "classifier": SingleModel(reader.classifier, PROBABILITIES),
    }


class ChainModel:
    """Denoise, then classify; the parameter `denoise` is always, never or auto."""

    platform = "cleardigits_chain"
    outputs = (PROBABILITIES, DIGIT, DENOISED)

    def __init__(self, reader: ReaderLike) -> None:
        self._reader = reader

    def versions(self) -> list[str]:
        both = _available(self._reader.denoiser) and _available(self._reader.classifier)
        return [CHAIN_VERSION] if both else []

    def infer(
        self, images: np.ndarray, parameters: Mapping[str, object], *, deadline: Deadline, metadata: Metadata
    ) -> Inferred:
        low, high = float(images.min()), float(images.max())
        if not within_range(low, high):
            raise InvalidInputError(f"{CHAIN} reads images from 0 to 1, not from {low:g} to {high:g}")
        given = {"denoise": parameters["denoise"]} if "denoise" in parameters else {}
        options = DEFAULTS.updated(given)
        reading = self._reader.read(images, denoise=options.denoise, deadline=deadline, metadata=metadata)
        outputs = {
            "probabilities": reading.scores,
            "digit": reading.digits.astype(np.int64),
            "denoised": reading.denoised,
        }
        versions = {"denoiser_version": reading.denoiser_version, "classifier_version": reading.classifier_version}
        known = {name: str(version) for name, version in versions.items() if version is not None}
        return Inferred(outputs, CHAIN_VERSION, {**known, "degraded": reading.degraded})


class SingleModel:
    """The denoiser or the classifier alone."""

    platform = "tensorflow_savedmodel"

    def __init__(self, model: BlockingModel, output: dict) -> None:
        self._model = model
        self.outputs = (output,)

    def versions(self) -> list[str]:
        return _available(self._model)

    def infer(
        self, images: np.ndarray, parameters: Mapping[str, object], *, deadline: Deadline, metadata: Metadata
    ) -> Inferred:
        slices = [images[start : start + SLICE_IMAGES] for start in range(0, len(images), SLICE_IMAGES)]
        parts = [self._model.predict(part, deadline=deadline, metadata=metadata) for part in slices]
        array = parts[0].array if len(parts) == 1 else np.concatenate([part.array for part in parts])
        return Inferred({self.outputs[0]["name"]: array}, str(parts[-1].version), {})


def _available(model: BlockingModel) -> list[str]:
    return [str(item.version) for item in model.status() if item.state == AVAILABLE]
