"""The same models called in-process: what the chain's answers over HTTP have to equal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from services.core.noise import Images
from services.evaluator.errors import ReportError

TOLERANCE = 1e-5  # of a probability; engines add up in different orders
BATCH = 256


@dataclass(frozen=True, slots=True)
class Difference:
    """How far answers over HTTP are from in-process ones: the largest gap, and how many images read differently."""

    images: int
    digits_differ: int
    largest: float

    def __add__(self, other: Difference) -> Difference:
        return Difference(
            self.images + other.images, self.digits_differ + other.digits_differ, max(self.largest, other.largest)
        )

    @property
    def equal(self) -> bool:
        """Whether both are the same models seeing the same pixels."""
        return self.digits_differ == 0 and self.largest <= TOLERANCE


class OnnxModel:
    """One version of one model, from the file the servers serve."""

    def __init__(self, version: Path, *, threads: int = 1) -> None:
        path = version / "model.onnx"
        if not path.is_file():
            raise ReportError(
                f"{version.parent.name} version {version.name} is served, but there is no {path} to compare with: "
                "pass the folder the servers read with --models"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._outputs = [each.name for each in self._session.get_outputs()]

    def __call__(self, images: Images) -> NDArray[np.float32]:
        """The model's output for a batch of any size."""
        return self.outputs(images)[self._outputs[0]]

    def outputs(self, images: Images) -> dict[str, NDArray[np.float32]]:
        """All that the model has, by name."""
        parts = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        found = [self._session.run(None, {self._input: part}) for part in parts]
        return {name: np.concatenate(each) for name, each in zip(self._outputs, zip(*found, strict=True), strict=True)}


class InProcessChain:
    """Denoiser and classifier of the given versions, with no network between."""

    def __init__(self, models: Path, *, denoiser: int, classifier: int) -> None:
        self.denoise = OnnxModel(models / "denoiser" / str(denoiser))
        self.classify = OnnxModel(models / "classifier" / str(classifier))


def difference(scores: NDArray[np.float32], *expected: NDArray[np.float32]) -> Difference:
    """Compare probabilities with what in-process calls gave; with several, each image has to match one of them."""
    gaps = np.stack([np.abs(scores - each).max(axis=1) for each in expected])
    digits = np.stack([each.argmax(axis=1) for each in expected])
    closest = gaps.argmin(axis=0)
    rows = np.arange(len(scores))
    # A tie between two digits, to within the tolerance, may fall either way and is no difference.
    two_best = np.sort(scores, axis=1)[:, -2:]
    tie = two_best[:, 1] - two_best[:, 0] <= 2 * TOLERANCE
    differ = (digits[closest, rows] != scores.argmax(axis=1)) & ~tie
    return Difference(len(scores), int(differ.sum()), float(gaps[closest, rows].max()))
