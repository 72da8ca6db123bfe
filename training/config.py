"""What one training run can be told, with its defaults."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

TUTORIALS = ("dense-autoencoder", "mlp", "fully-connected", "cnn", "denoise-then-classify")
SIZES = ("small", "direct-small", "default", "direct", "large", "direct-large")  # pairs and their controls
RECIPES = (*TUTORIALS, *SIZES)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """Figures a run is repeated by: the same ones give the same result on the same machine."""

    recipe: str = "default"
    seed: int = 1
    epochs: int | None = None  # None: what the recipe itself asks for
    start_from: int | None = None  # a version in `models` whose weights the default recipe begins with
    models: str = "models"
    teacher: str | None = None  # the folder of a finished run, of `large` say, whose answers are learnt as well
    batch_size: int = 128  # of the pairs and their controls
    extra: str | None = None  # a file of corrections that the default recipe mixes in
    validation: int = 5_000  # training images held back to choose by
    hold_out: str | None = None  # a noise kind the default recipe must not see
    trained: int | None = None  # training images to learn from; None: all that are not held back
    measured: int | None = None  # test images that results are measured on; None: all

    def as_dict(self) -> dict[str, Any]:
        """For model cards and run folders."""
        return asdict(self)

    def command(self) -> str:
        """What to type to run this again."""
        given = [
            f" --{field.name.replace('_', '-')} {getattr(self, field.name)}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        return "python -m training" + "".join(given)
