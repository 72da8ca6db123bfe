"""Lines with numbers known beforehand, for load on POST /v1/read.

What a gateway at rest reads rightly and surely it has to read under load as well. Cutting and choosing happen in the
gateway, so it is asked itself, once for each line, before the load begins.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from services.core.images import encode_png
from services.core.noise import gaussian
from services.evaluator.client import TimedAnswer, read_json
from services.evaluator.data import lines
from services.evaluator.data.dataset import Dataset
from services.evaluator.data.lines import LineRecipe
from services.evaluator.errors import DatasetError

LEVEL = 0.25
SURE = 0.9  # confidence from which on no engine's rounding turns an answer
CANDIDATES = 200
LEAST = 2


class LineClient(Protocol):
    """Who reads a line at rest; GatewayClient does."""

    def read_line(self, body: bytes, content_type: str) -> TimedAnswer: ...


@dataclass(frozen=True, slots=True)
class LineSamples:
    """PNGs of noisy lines and the numbers that have to be read on them."""

    pngs: list[bytes]
    numbers: list[str]

    def save(self, path: Path) -> None:
        """For another process to read."""
        path.parent.mkdir(parents=True, exist_ok=True)
        pngs = [base64.b64encode(png).decode() for png in self.pngs]
        path.write_text(json.dumps({"numbers": self.numbers, "pngs": pngs}), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """What `save` wrote."""
        saved = json.loads(path.read_text(encoding="utf-8"))
        return cls([base64.b64decode(png) for png in saved["pngs"]], saved["numbers"])


def choose(dataset: Dataset, reader: LineClient, *, seed: int) -> LineSamples:
    """Lines of five digits under noise that `reader` reads rightly beyond doubt."""
    rng = np.random.default_rng(seed)
    found = LineSamples([], [])
    for line in lines.make(LineRecipe(), dataset.images, dataset.labels, CANDIDATES, rng):
        png = encode_png(gaussian(line.picture[np.newaxis, ..., np.newaxis], LEVEL, rng)[0])
        result = read_json(reader.read_line(png, "image/png"), count=1)["results"][0]
        if result["number"] == line.number and result["confidence"] >= SURE:
            found.pngs.append(png)
            found.numbers.append(line.number)
    if len(set(found.numbers)) < LEAST:
        raise DatasetError(
            f"of {CANDIDATES} lines only {len(found.numbers)} are read beyond doubt: too few to check by"
        )
    return found
