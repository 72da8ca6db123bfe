"""Which label's models answer a request: the one it names, else one by weight, always the same for the same key."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from services.core.errors import InvalidInputError

LABEL, STICKY = "X-ClearDigits-Label", "X-ClearDigits-Sticky"

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NAMED, _KEY = LABEL.lower(), STICKY.lower()


@dataclass(frozen=True, slots=True)
class Split:
    """Percent of requests by label, in the order they were written; together 100. Empty: one version answers all."""

    percent: Mapping[str, float]

    @classmethod
    def parsed(cls, text: str) -> Self:
        """From `stable:95,canary:5`; ValueError says what is wrong. 0 is a label that is only ever named."""
        percent: dict[str, float] = {}
        for part in text.split(",") if text else ():
            label, _, weight = part.strip().rpartition(":")
            if not _NAME.fullmatch(label) or label in percent:
                raise ValueError(f"{part.strip()!r} is not label:percent, each label once, such as stable:95,canary:5")
            try:
                percent[label] = float(weight)
            except ValueError:
                raise ValueError(f"{part.strip()!r}: {weight!r} is no number of percent") from None
            if not 0 <= percent[label] <= 100:
                raise ValueError(f"{part.strip()!r}: percent are from 0 to 100")
        if percent and abs(sum(percent.values()) - 100) > 1e-6:
            raise ValueError(f"{text!r} comes to {sum(percent.values()):g} percent, not to 100")
        return cls(percent)

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the split; without one there is one, the empty label, which leaves the choice to other settings."""
        return tuple(self.percent) or ("",)

    def label_of(self, headers: Mapping[str, str], request_id: str) -> str:
        """The label whose models answer; header names are in lower case. InvalidInputError for one that is not here."""
        named = headers.get(_NAMED)
        if named is not None:
            if named not in self.percent:
                there_is = ", ".join(self.percent) or "none here"
                raise InvalidInputError(f"{LABEL}: no label is called {named[:64]!r}; there is {there_is}")
            return named
        return self._drawn(headers.get(_KEY, request_id)) if self.percent else ""

    def _drawn(self, key: str) -> str:
        """Shares lie side by side from 0 to 100, so that moving a border moves no key beyond it."""
        place = 100 * int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64
        shares = [(label, share) for label, share in self.percent.items() if share]
        for label, share in shares:
            place -= share
            if place < 0:
                return label
        return shares[-1][0]  # the sum was a rounding error below 100
