"""The control of the large recipe: one network of the same cost, no denoiser.

Figures: our own; how it is trained is in training/pair.py.
"""

from __future__ import annotations

from pathlib import Path

from training.chain import Direct, Teacher
from training.config import TrainingConfig
from training.data import Dataset
from training.direct import build_direct
from training.pair import train_pair
from training.recipes import Outcome

PUBLISHED = "none: a size of our own, for the front"


def build(teacher: Teacher | None = None) -> Direct:
    """27 MFLOP a picture."""
    return Direct(build_direct(40, 52, 108, 152), teacher=teacher)


def run(data: Dataset, config: TrainingConfig, workdir: Path) -> Outcome:
    return train_pair(build, data, config, workdir)
