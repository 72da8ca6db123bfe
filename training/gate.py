"""The release gate: a new pair has to read digits about as well as the one it would replace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from training.data import Digits
from training.errors import GateError
from training.export import Exportable, onnx_predictor, to_onnx, versions
from training.measure import measure_headline

ALLOWED_LOSS = 0.002  # 0.2 points at any headline level


def measure_current(models_dir: Path, digits: Digits) -> dict[str, float] | None:
    """Headline accuracies of the newest pair in the models folder; None when there is none to compare with.

    `digits` are held-back training images: what decides about publishing is not what is reported.
    """
    graphs = []
    for name in ("denoiser", "classifier"):
        home = models_dir / name
        if not (found := versions(home)):
            return None
        output = "denoised" if name == "denoiser" else "probabilities"
        graphs.append(onnx_predictor(home / str(found[-1]) / "model.onnx", output=output))
    denoise, classify = graphs
    return measure_headline(denoise, classify, digits)


def measure_new(exportables: Sequence[Exportable], digits: Digits) -> dict[str, float]:
    """The same figures of a pair that is not yet written."""
    denoise, classify = (onnx_predictor(to_onnx(each), output=each.outputs[0]) for each in exportables)
    return measure_headline(denoise, classify, digits)


def check(new: Mapping[str, float], current: Mapping[str, float]) -> None:
    """Raise GateError, with the comparison, when the new pair loses more than is allowed at any headline level."""
    losses = [name for name in current if new[name] < current[name] - ALLOWED_LOSS]
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
