"""The pair that ships: a residual convolutional denoiser and a compact CNN, trained end to end on a wide world.

Figures: our own; how it is trained is in training/pair.py.
"""

from __future__ import annotations

from pathlib import Path

from training.chain import Chain, Teacher
from training.classifier import build_classifier
from training.config import TrainingConfig
from training.data import Dataset
from training.denoiser import build_denoiser
from training.pair import train_pair
from training.recipes import Outcome

PUBLISHED = "none; the targets are in training/README.md"


def build(teacher: Teacher | None = None) -> Chain:
    """8.9 MFLOP a picture."""
    return Chain(build_denoiser(), build_classifier(), teacher=teacher)


def run(data: Dataset, config: TrainingConfig, workdir: Path) -> Outcome:
    return train_pair(build, data, config, workdir)
