"""Pictures for the report: what noise does, what the denoiser makes of it, and the mistakes that are left."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from services.core.images import encode_png
from services.core.noise import Images
from services.evaluator.measure.experiment import Outcome

EXAMPLES = 8
WORST = 16


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One digit: the pictures as data URIs, what it is, and what was read without and with denoising."""

    noise: str
    level: float
    label: int
    plain: int
    plain_confidence: float
    cleaned: int
    cleaned_confidence: float
    clean: str
    noisy: str
    denoised: str


def examples(outcome: Outcome, clean: Images, labels: NDArray[np.int64]) -> list[Exhibit]:
    """The first images of the set, not a choice."""
    return [_exhibit(outcome, clean, labels, at) for at in range(min(EXAMPLES, len(labels)))]


def worst(outcome: Outcome, clean: Images, labels: NDArray[np.int64]) -> list[Exhibit]:
    """What the chain read wrongly and was surest about."""
    scores = outcome.scores["always"]
    wrong = np.flatnonzero(scores.argmax(axis=1) != labels)
    surest = wrong[np.argsort(-scores[wrong].max(axis=1), kind="stable")][:WORST]
    return [_exhibit(outcome, clean, labels, at) for at in surest]


def to_json(groups: dict[str, list[Exhibit]]) -> str:
    """The pictures beside the numbers: so that a report can be drawn again without the gateway."""
    return json.dumps({name: [asdict(each) for each in group] for name, group in groups.items()}) + "\n"


def from_json(text: str) -> dict[str, list[Exhibit]]:
    """The inverse of `to_json`."""
    return {name: [Exhibit(**each) for each in group] for name, group in json.loads(text).items()}


def data_uri(image: Images) -> str:
    """One image (28, 28, 1) to put into an <img>."""
    return "data:image/png;base64," + base64.b64encode(encode_png(image)).decode()


def _exhibit(outcome: Outcome, clean: Images, labels: NDArray[np.int64], at: int) -> Exhibit:
    plain, cleaned = outcome.scores["never"][at], outcome.scores["always"][at]
    return Exhibit(
        noise=outcome.condition.noise,
        level=outcome.condition.level,
        label=int(labels[at]),
        plain=int(plain.argmax()),
        plain_confidence=round(float(plain.max()), 4),
        cleaned=int(cleaned.argmax()),
        cleaned_confidence=round(float(cleaned.max()), 4),
        clean=data_uri(clean[at]),
        noisy=data_uri(outcome.noisy[at]),
        denoised=data_uri(outcome.denoised[at]),
    )
