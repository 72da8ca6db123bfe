"""Everything the evaluator can be told through the environment, with its defaults. Flags win over variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from services.runtime.env import read_env

PREFIX = "CLEARDIGITS_EVALUATOR_"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorConfig:
    """Where the gateway is, how patient to be with it, and how hard to press."""

    url: str = "http://127.0.0.1:8080"
    api_key: str = ""  # sent as a bearer token when the gateway asks for one
    models: str = "models"  # the folder the servers read: for the comparison with in-process calls
    timeout_s: float = 30.0  # for one request, however many images it carries
    batch: int = 250  # images in one request of an accuracy run
    in_flight: int = 3  # requests at once in an accuracy run
    seed: int = 20260101

    def __post_init__(self) -> None:
        for name in ("timeout_s", "batch", "in_flight"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{PREFIX}{name.upper()} has to be more than 0")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read `CLEARDIGITS_EVALUATOR_*`; mistakes raise ConfigError."""
        return read_env(cls, environ, prefix=PREFIX)
