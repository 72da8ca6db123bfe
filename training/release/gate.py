"""The release gate: a new pair has to read digits about as well as the one it would replace.

Where it was also trained on a user's labelled pictures, those held back have to be read at least as well as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from services.core.metrics import accuracy
from services.core.model_digest import versions
from training.data.dataset import Digits, Pictures
from training.errors import GateError
from training.export.versions import Exportable, onnx_predictors, to_onnx
from training.measure.measurements import Predict, measure_headline

ALLOWED_LOSS = 0.002  # 0.2 points at any headline level
EXTRA, EXTRA_NO_DIGIT = "extra digits", "extra, no digit"  # figures that may not fall at all


def measure_current(models_dir: Path, digits: Digits, held_back: Pictures | None = None) -> dict[str, float] | None:
    """Headline accuracies of the newest pair in the models folder; None when there is none to compare with.

    `digits` are held-back training images: what decides about publishing is not what is reported.
    """
    predictors: dict[str, Predict] = {}
    for name in ("denoiser", "classifier"):
        home = models_dir / name
        if not (found := versions(home)):
            return None
        predictors |= onnx_predictors(home / str(found[-1]) / "model.onnx")
    return _measure(predictors, digits, held_back)


def measure_new(
    exportables: Sequence[Exportable], digits: Digits, held_back: Pictures | None = None
) -> dict[str, float]:
    """The same figures of a pair that is not yet written."""
    predictors: dict[str, Predict] = {}
    for each in exportables:
        predictors |= onnx_predictors(to_onnx(each))
    return _measure(predictors, digits, held_back)


def check(new: Mapping[str, float], current: Mapping[str, float]) -> None:
    """Raise GateError, with the comparison, when the new pair loses more than is allowed at any headline level."""
    losses = [name for name in current if new[name] < current[name] - _allowed_loss(name)]
    if losses:
        raise GateError(
            f"the new pair reads worse at {', '.join(losses)}\n{comparison(new, current)}\n"
            "nothing was published; --force publishes it all the same"
        )


def comparison(new: Mapping[str, float], current: Mapping[str, float]) -> str:
    """A small table of percentages."""
    rows = (
        f"{name:<15}{100 * current[name]:>8.2f}{100 * new[name]:>8.2f}{100 * (new[name] - current[name]):>+8.2f}"
        for name in current
    )
    return "\n".join([f"{'accuracy, %':<15}{'current':>8}{'new':>8}{'':>8}", *rows])


def _allowed_loss(name: str) -> float:
    return 0.0 if name in (EXTRA, EXTRA_NO_DIGIT) else ALLOWED_LOSS


def _measure(predictors: Mapping[str, Predict], digits: Digits, held_back: Pictures | None) -> dict[str, float]:
    denoise, classify, judge = predictors["denoised"], predictors["probabilities"], predictors.get("is_digit")
    figures = measure_headline(denoise, classify, digits)
    if held_back and len(held_back.digits):
        read = classify(denoise(held_back.digits.images)).argmax(axis=1)
        figures[EXTRA] = accuracy(held_back.digits.labels, read)
    if held_back and len(held_back.no_digit) and judge:  # a pair without `is_digit` takes everything for a digit
        figures[EXTRA_NO_DIGIT] = float(np.mean(judge(denoise(held_back.no_digit)) < 0.5))
    return figures
