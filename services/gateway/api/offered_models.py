"""The models that are asked with images of digits: the chain, `digits`, and the denoiser and classifier behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from services.core.errors import InvalidInputError
from services.core.pixels import within_range
from services.gateway.api.readiness import ModelStatus
from services.gateway.messages.options import DEFAULTS
from services.gateway.models.remote import Model, Prediction
from services.gateway.models.transport import CallContext
from services.gateway.reading.reader import Reader

CHAIN = "digits"
PLATFORM = "cleardigits_chain"
CHAIN_VERSION = "1"  # of this interface; the versions of the two models are in a reply's parameters
SLICE_IMAGES = 256  # of one call of a single model, so that others find room between them
DIRECT_CALLS = 4  # of a single model at the same time, beside those of the chain: its server has a thread for each
MOST_MAGNITUDE = 1e6  # of a pixel for a single model: far beyond any picture, far below what overflows float32

IMAGES: dict[str, Any] = {"name": "images", "datatype": "FP32", "shape": [-1, 28, 28, 1]}
PROBABILITIES: dict[str, Any] = {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}
DIGIT: dict[str, Any] = {"name": "digit", "datatype": "INT64", "shape": [-1]}
DENOISED: dict[str, Any] = {"name": "denoised", "datatype": "FP32", "shape": [-1, 28, 28, 1]}


@dataclass(frozen=True, slots=True)
class Inferred:
    """What a model made of images: arrays by output name, the version that made them, more to know."""

    outputs: Mapping[str, np.ndarray]
    version: str
    parameters: Mapping[str, object]


class DescribedModel(Protocol):
    """One model as the protocols describe it."""

    platform: str
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]

    async def versions(self) -> tuple[str, ...]:
        """The versions available just now, newest first."""
        ...


class OfferedModel(DescribedModel, Protocol):
    """One that is asked with images of digits."""

    async def infer(self, images: np.ndarray, parameters: Mapping[str, object], *, call: CallContext) -> Inferred:
        """Run it on images (n, 28, 28, 1)."""
        ...


def offered_models(reader: Reader, statuses: Mapping[str, ModelStatus]) -> dict[str, OfferedModel]:
    """All there are, by name; `statuses` are those of the denoiser and the classifier."""
    return {
        CHAIN: ChainModel(reader, tuple(statuses.values())),
        "denoiser": SingleModel(reader.denoiser, statuses["denoiser"], DENOISED),
        "classifier": SingleModel(reader.classifier, statuses["classifier"], PROBABILITIES),
    }


class ChainModel:
    """Denoise, then classify; the parameter `denoise` is always, never or auto."""

    platform = PLATFORM
    inputs: tuple[dict[str, Any], ...] = (IMAGES,)
    outputs: tuple[dict[str, Any], ...] = (PROBABILITIES, DIGIT, DENOISED)

    def __init__(self, reader: Reader, statuses: Sequence[ModelStatus]) -> None:
        self._reader = reader
        self._statuses = statuses

    async def versions(self) -> tuple[str, ...]:
        """Available while both models are."""
        both = await asyncio.gather(*(status.versions() for status in self._statuses))
        return (CHAIN_VERSION,) if all(both) else ()

    async def infer(self, images: np.ndarray, parameters: Mapping[str, object], *, call: CallContext) -> Inferred:
        """As OfferedModel.infer."""
        low, high = float(images.min()), float(images.max())
        if not within_range(low, high):
            raise InvalidInputError(f"{CHAIN} reads images from 0 to 1, not from {low:g} to {high:g}")
        given = {"denoise": parameters["denoise"]} if "denoise" in parameters else {}
        options = DEFAULTS.updated(given)
        reading = await self._reader.read(images, denoise=options.denoise, call=call)
        outputs = {
            "probabilities": reading.scores,
            "digit": reading.digits.astype(np.int64),
            "denoised": reading.denoised,
        }
        versions = {"denoiser_version": reading.denoiser_version, "classifier_version": reading.classifier_version}
        known = {name: str(version) for name, version in versions.items() if version is not None}
        if reading.label:
            known["label"] = reading.label
        return Inferred(outputs, CHAIN_VERSION, {**known, "degraded": reading.degraded})


class SingleModel:
    """The denoiser or the classifier alone."""

    platform = "tensorflow_savedmodel"
    inputs: tuple[dict[str, Any], ...] = (IMAGES,)

    def __init__(self, model: Model, status: ModelStatus, output: dict[str, Any]) -> None:
        self._model = model
        self._status = status
        self._room = asyncio.Semaphore(DIRECT_CALLS)
        self.outputs: tuple[dict[str, Any], ...] = (output,)

    async def versions(self) -> tuple[str, ...]:
        """As OfferedModel.versions."""
        return await self._status.versions()

    async def infer(self, images: np.ndarray, parameters: Mapping[str, object], *, call: CallContext) -> Inferred:
        """As OfferedModel.infer, in slices one after another."""
        if max(abs(float(images.min())), abs(float(images.max()))) > MOST_MAGNITUDE:
            raise InvalidInputError(f"a pixel is beyond ±{MOST_MAGNITUDE:g}: no model computes with it")
        slices = [images[start : start + SLICE_IMAGES] for start in range(0, len(images), SLICE_IMAGES)]
        parts = [await self._predict(part, call) for part in slices]
        array = parts[0].array if len(parts) == 1 else np.concatenate([part.array for part in parts])
        return Inferred({self.outputs[0]["name"]: array}, str(parts[-1].version), {})

    async def _predict(self, images: np.ndarray, call: CallContext) -> Prediction:
        async with self._room:
            return await self._model.predict(images, call=call)
