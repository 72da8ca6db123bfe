"""Everything one evaluation found, as plain data: what is saved as JSON and what every report is made from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from services.evaluator.client import Denoise
from services.evaluator.errors import ReportError
from services.evaluator.measure.statistics import CONFIDENCE

SCHEMA = 1
HEADLINE_NOISE, HEADLINE_LEVEL = "gaussian", 0.5
CLEAN = "none"  # the noise of cells at level 0, where every kind is the same

ARMS: dict[Denoise, str] = {"never": "classify only", "always": "denoise, then classify", "auto": "decide by noise"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One arm on all images under one noise at one level."""

    noise: str
    level: float
    arm: Denoise
    correct: int
    total: int
    low: float
    high: float
    recall: list[float | None]  # per digit; None where the data set holds none
    ece: float
    denoised: float  # share of images the gateway cleaned before reading
    estimated: float | None = None  # accuracy as the confidences have it, their mean; None in results of before
    error_at_read: list[tuple[float, float]] = field(
        default_factory=list
    )  # of the surest share: that share, how many wrong
    read_at_error: list[tuple[float, float]] = field(default_factory=list)  # an error allowed, the share read within it

    @property
    def accuracy(self) -> float:
        """Share of images read correctly."""
        return self.correct / self.total

    @property
    def name(self) -> str:
        """How it is called where cells are listed, as in `gaussian@0.5/always`."""
        return f"{self.noise}@{self.level:g}/{self.arm}"


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Two arms on the same noisy images, by McNemar's test."""

    noise: str
    level: float
    first: str
    second: str
    only_first: int
    only_second: int
    p_value: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """Rows are what was written, columns what was read."""

    noise: str
    level: float
    arm: Denoise
    counts: list[list[int]]


@dataclass(frozen=True, slots=True)
class Reliability:
    """Confidence against accuracy, in bins of (confidence, accuracy, count)."""

    noise: str
    level: float
    arm: Denoise
    ece: float
    bins: list[tuple[float, float, int]]


@dataclass(frozen=True, slots=True)
class Quality:
    """How close noisy and denoised images are to the clean ones."""

    noise: str
    level: float
    images: int
    psnr_noisy: float
    psnr_denoised: float
    ssim_noisy: float
    ssim_denoised: float


@dataclass(frozen=True, slots=True)
class Latency:
    """One kind of request, many times: milliseconds at the client, and per stage as the gateway reports them."""

    case: str
    clients: int
    images: int  # in one request
    requests: int
    errors: int
    seconds: float
    ms: dict[str, float]  # mean, p50, p90, p95, p99, p99.9, max
    stages_ms: dict[str, float]  # medians
    request_bytes: float
    response_bytes: float
    histogram: list[tuple[float, float, int]]  # (from ms, to ms, requests)
    floor_ms: dict[str, float] = field(default_factory=dict)  # as `ms`, of requests that compute nothing

    @property
    def requests_per_s(self) -> float:
        """Answers a second."""
        return (self.requests - self.errors) / self.seconds

    def supported(self, name: str) -> float | None:
        """`p99` and the like in ms, or None where there were too few requests to tell: of 60, the slowest is no p99.9.

        Enough is where the slowest request is an upper limit of the percentile with 95 % confidence: 59 requests for
        p95, 299 for p99, 2,995 for p99.9.
        """
        share = float(name.removeprefix("p")) / 100
        enough = share ** (self.requests - self.errors) <= 1 - CONFIDENCE
        return self.ms.get(name) if enough else None


@dataclass(frozen=True, slots=True)
class Equality:
    """Answers over HTTP against the same models in-process."""

    images: int
    digits_differ: int
    largest: float
    tolerance: float
    equal: bool

    def __str__(self) -> str:
        """For people: `no digit differs; probabilities differ by at most 3e-07`."""
        many = f"{self.digits_differ} digits differ"
        digits = {0: "no digit differs", 1: "1 digit differs"}.get(self.digits_differ, many)
        gap = f"differ by at most {self.largest:.0e}" if self.largest else "are identical"
        return f"{digits}; probabilities {gap}"


@dataclass(slots=True)
class Results:
    """One evaluation. Filled as it goes, so that what was measured before a failure is kept."""

    run: dict[str, Any]
    dataset: dict[str, Any]
    models: dict[str, int]
    cells: list[Cell] = field(default_factory=list)
    pairs: list[PairedTest] = field(default_factory=list)
    confusions: list[Confusion] = field(default_factory=list)
    reliabilities: list[Reliability] = field(default_factory=list)
    qualities: list[Quality] = field(default_factory=list)
    latencies: list[Latency] = field(default_factory=list)
    equality: Equality | None = None
    complete: bool = False
    stopped_because: str = ""
    schema: int = SCHEMA

    def cell(self, noise: str, level: float, arm: str) -> Cell | None:
        """The cell of that noise, level and arm; at level 0 every noise is the clean one."""
        wanted = (noise if level else CLEAN, level, arm)
        return next((each for each in self.cells if (each.noise, each.level, each.arm) == wanted), None)

    def noises(self) -> list[str]:
        """Noise kinds in the order they were measured."""
        return list(dict.fromkeys(each.noise for each in self.cells if each.noise != CLEAN))

    def levels(self) -> list[float]:
        """All levels, rising."""
        return sorted({each.level for each in self.cells})

    def arms(self) -> list[Denoise]:
        """Arms in the order of ARMS."""
        measured = {each.arm for each in self.cells}
        return [arm for arm in ARMS if arm in measured]

    def headline(self) -> tuple[str, float] | None:
        """The noise and level the first page is about: Gaussian 0.5, or the nearest to it that was measured."""
        noises = self.noises()
        if not noises:
            return None
        noise = HEADLINE_NOISE if HEADLINE_NOISE in noises else noises[0]
        levels = {each.level for each in self.cells if each.noise == noise}
        return noise, min(levels, key=lambda level: abs(level - HEADLINE_LEVEL))

    def to_json(self) -> str:
        """Readable, with stable order and six significant digits: the file is meant for diffs as well."""
        return json.dumps(_rounded(dataclasses.asdict(self)), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`; raises ReportError when the text is something else."""
        try:
            data = json.loads(text)
            if data["schema"] != SCHEMA:
                raise ReportError(f"these results have schema {data['schema']}; this evaluator reads {SCHEMA}")
            lists: dict[str, Any] = {name: [kind(**each) for each in data.pop(name)] for name, kind in _LISTS.items()}
            equality = data.pop("equality")
            return cls(**data, **lists, equality=Equality(**equality) if equality else None)
        except (ValueError, KeyError, TypeError) as exc:
            raise ReportError(f"not the results of an evaluation: {exc}") from exc


def read(path: Path) -> Results:
    """Results from a file; raises ReportError."""
    try:
        return Results.from_json(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ReportError(f"cannot read {path}: {exc.strerror}") from exc


_LISTS: dict[str, type] = {
    "cells": Cell,
    "pairs": PairedTest,
    "confusions": Confusion,
    "reliabilities": Reliability,
    "qualities": Quality,
    "latencies": Latency,
}


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_rounded(each) for each in value]
    return value
