"""Two evaluations side by side: what changed, and what of that is more than luck."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.evaluator.measure import statistics
from services.evaluator.measure.results import Cell, Results

SIGNIFICANT = 0.05  # after Benjamini-Hochberg over all cells
RightAnswers = dict[str, np.ndarray]  # cell name -> one bool per image


@dataclass(frozen=True, slots=True)
class Change:
    """One cell in both runs."""

    old: Cell
    new: Cell
    p_value: float
    paired: bool

    @property
    def points(self) -> float:
        """Percentage points gained; negative is worse."""
        return 100 * (self.new.accuracy - self.old.accuracy)

    @property
    def significant(self) -> bool:
        """More than luck explains."""
        return self.p_value < SIGNIFICANT


def compare(
    old: Results, new: Results, old_right: RightAnswers | None = None, new_right: RightAnswers | None = None
) -> list[Change]:
    """Every cell both runs have; by McNemar where both kept which images they read, else as unpaired proportions."""
    found: list[tuple[Cell, Cell, float, bool]] = []
    same_images = old.dataset.get("sha256") == new.dataset.get("sha256") and old.run["seed"] == new.run["seed"]
    for cell in new.cells:
        before = old.cell(cell.noise, cell.level, cell.arm)
        if before is None:
            continue
        first, second = (old_right or {}).get(before.name), (new_right or {}).get(cell.name)
        if same_images and first is not None and second is not None and len(first) == len(second):
            paired, p_value = True, statistics.mcnemar(first, second).p_value
        else:
            paired = False
            p_value = statistics.two_proportions(before.correct, before.total, cell.correct, cell.total)
        found.append((before, cell, p_value, paired))
    adjusted = statistics.false_discovery_adjusted([each[2] for each in found])
    return [Change(*each[:2], p_value, each[3]) for each, p_value in zip(found, adjusted, strict=True)]
