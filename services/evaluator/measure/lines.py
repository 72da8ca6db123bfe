"""Lines of digits through POST /v1/read: how many are read whole, with and without the denoiser, and what is rejected.

Lines are made from test digits by services/evaluator/data/lines.py, the same for the same seed; noise is put on the
whole picture, on its own pixels. A folder of a user's own pictures with `labels.csv` is measured the same way.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from services.core.images import encode_png
from services.core.noise import NOISES
from services.evaluator.client import Denoise, GatewayClient, TimedAnswer, read_json
from services.evaluator.data import lines
from services.evaluator.data.dataset import Dataset
from services.evaluator.data.lines import LineRecipe
from services.evaluator.errors import GatewayError
from services.evaluator.measure.results import CLEAN
from services.evaluator.measure.statistics import ERRORS_ALLOWED, error_of, read_at, wilson
from services.evaluator.progress import Progress

RECIPES: Mapping[str, LineRecipe] = {
    "gaps": LineRecipe(),
    "touching": LineRecipe(gap_px=(-3, 0)),
    "boxes": LineRecipe(form="boxes"),
    "ruled": LineRecipe(form="ruled"),
    "skewed": LineRecipe(skew_degrees=10),
    "one to eight": LineRecipe(digits=(1, 8), gap_px=(-2, 16), slant=0.35, size=0.15),
    "letters": LineRecipe(letters=True),
}
OTHER_NOISES = tuple(kind for kind in NOISES if kind != "gaussian")
ARMS: tuple[Denoise, ...] = ("never", "always")
CURVE = (1.0, 0.98, 0.95, 0.9, 0.8, 0.7, 0.5)  # shares of lines that are read, for the error-reject curve
WORST = 12
CLIENTS = 16


@dataclass(frozen=True, slots=True)
class LineCondition:
    """One kind of line under one noise."""

    form: str
    noise: str = CLEAN
    level: float = 0.0


@dataclass(frozen=True, slots=True)
class LineCell:
    """One arm on all lines of a condition."""

    form: str
    noise: str
    level: float
    arm: str
    lines: int
    whole: int  # read exactly
    low: float
    high: float
    digits: int
    digit_errors: int  # edit distance, over all lines
    count_errors: int  # lines read with more or fewer digits
    accepted: int
    accepted_wrong: int
    error_at_read: list[tuple[float, float]]  # of the surest share of lines: that share, and how many of them are wrong
    read_at_error: list[tuple[float, float]]  # an error that is allowed, and the share that can be read within it

    @property
    def accuracy(self) -> float:
        """Share of lines read whole."""
        return self.whole / self.lines


@dataclass(frozen=True, slots=True)
class Mistake:
    """A line that was read wrongly, and how sure the gateway was."""

    condition: LineCondition
    number: str
    read: str
    confidence: float
    png: bytes


@dataclass(frozen=True, slots=True)
class Speed:
    """A line of five digits beside one digit, in the same run."""

    digit_ms: float  # p50, one client
    line_ms: float
    clients: int
    digits_per_s: float  # at so many clients
    lines_per_s: float


@dataclass(slots=True)
class LineFindings:
    """Cells for the tables, mistakes for the picture."""

    cells: list[LineCell] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    speed: Speed | None = None
    stopped_because: str = ""

    def to_json(self) -> str:
        """The numbers, readable."""
        document = {
            "cells": [asdict(cell) for cell in self.cells],
            "speed": None if self.speed is None else asdict(self.speed),
            "stopped_because": self.stopped_because,
        }
        return json.dumps(document, indent=1) + "\n"


@dataclass(frozen=True, slots=True)
class LineRead:
    """What the gateway read on one line."""

    number: str
    confidence: float
    accepted: bool


def conditions(*, quick: bool = False) -> list[LineCondition]:
    """Every kind of line clean, and under Gaussian noise; five digits with gaps under every noise."""
    if quick:
        return [LineCondition("gaps"), LineCondition("gaps", "gaussian", 0.5), LineCondition("boxes")]
    return [
        *(
            LineCondition("gaps", "gaussian", level) if level else LineCondition("gaps")
            for level in (0, 0.25, 0.5, 0.75)
        ),
        LineCondition("touching"),
        LineCondition("touching", "gaussian", 0.5),
        *(
            condition
            for form in ("boxes", "ruled", "skewed", "letters")
            for condition in (LineCondition(form), LineCondition(form, "gaussian", 0.25))
        ),
        LineCondition("one to eight"),
        LineCondition("one to eight", "gaussian", 0.5),
        *(LineCondition("gaps", noise, 0.5) for noise in OTHER_NOISES),
    ]


def made(condition: LineCondition, dataset: Dataset, count: int, seed: int) -> list[tuple[bytes, str]]:
    """PNGs of noisy lines and their numbers: the same for the same seed, independent of what else is measured."""
    key = [
        seed,
        *(zlib.crc32(name.encode()) for name in (condition.form, condition.noise)),
        round(1000 * condition.level),
    ]
    rng = np.random.default_rng(key)
    found = []
    for line in lines.make(RECIPES[condition.form], dataset.images, dataset.labels, count, rng):
        picture = line.picture[np.newaxis, ..., np.newaxis]
        if condition.level:
            picture = NOISES[condition.noise](picture, condition.level, rng)
        found.append((encode_png(picture[0]), line.number))
    return found


def measure(
    client: GatewayClient,
    dataset: Dataset,
    *,
    count: int,
    seed: int,
    in_flight: int,
    quick: bool,
    speed_requests: int | None = None,
    progress: Progress,
) -> LineFindings:
    """Every condition, without and with the denoiser. A gateway that fails for good ends it early; the rest is kept."""
    findings = LineFindings()
    wanted = conditions(quick=quick)
    try:
        with progress.task("lines", len(wanted) * len(ARMS) * count, "lines") as task:
            for condition in wanted:
                _observe(client, condition, made(condition, dataset, count, seed), findings, in_flight, task.advance)
                progress.say(_line(condition, findings.cells))
        requests = speed_requests or (100 if quick else 1000)
        findings.speed = measure_speed(client.impatient(), dataset, seed=seed, requests=requests)
    except GatewayError as exc:
        findings.stopped_because = str(exc)
    return findings


def measure_speed(client: GatewayClient, dataset: Dataset, *, seed: int, requests: int) -> Speed:
    """Lines and digits under Gaussian noise of 0.5: alternately for one client, then each for CLIENTS at once."""
    pictures = [png for png, _ in made(LineCondition("gaps", "gaussian", 0.5), dataset, 64, seed)]
    noisy = NOISES["gaussian"](dataset.images[:64], 0.5, np.random.default_rng(seed))
    digits = [encode_png(picture) for picture in noisy]
    asks: dict[str, tuple[Callable[[bytes, str], TimedAnswer], list[bytes]]]
    asks = {"digit": (client.exchange, digits), "line": (client.read_line, pictures)}
    spent: dict[str, list[float]] = {"digit": [], "line": []}
    for index in range(requests):
        for what, (ask, bodies) in asks.items():
            spent[what].append(_spent_ms(ask(bodies[index % len(bodies)], "image/png")))
    rates = {}
    with ThreadPoolExecutor(CLIENTS) as pool:
        for what, (ask, bodies) in asks.items():
            started = time.perf_counter()
            many = [bodies[index % len(bodies)] for index in range(requests)]
            for exchange in pool.map(partial(_ask, ask), many):
                _spent_ms(exchange)
            rates[what] = requests / (time.perf_counter() - started)
    median = {what: float(np.median(each)) for what, each in spent.items()}
    return Speed(median["digit"], median["line"], CLIENTS, rates["digit"], rates["line"])


def _ask(ask: Callable[[bytes, str], TimedAnswer], body: bytes) -> TimedAnswer:
    return ask(body, "image/png")


def _spent_ms(exchange: TimedAnswer) -> float:
    if exchange.status != 200:
        raise GatewayError(f"the gateway answered {exchange.status}: {exchange.body[:300].decode(errors='replace')}")
    return exchange.elapsed_ms


def measure_folder(client: GatewayClient, folder: Path, *, in_flight: int, progress: Progress) -> LineFindings:
    """The same for a user's own pictures; their files go to the gateway as they are."""
    findings = LineFindings()
    labelled = [(path.read_bytes(), number) for path, number in lines.read_folder(folder)]
    condition = LineCondition(folder.name)
    try:
        with progress.task("lines", len(ARMS) * len(labelled), "lines") as task:
            _observe(client, condition, labelled, findings, in_flight, task.advance)
    except GatewayError as exc:
        findings.stopped_because = str(exc)
    return findings


def cell(condition: LineCondition, arm: str, numbers: Sequence[str], reads: Sequence[LineRead]) -> LineCell:
    """Counts of one arm on one condition."""
    right = np.array([read.number == number for read, number in zip(reads, numbers, strict=True)])
    sure = np.array([read.confidence for read in reads])
    accepted = np.array([read.accepted for read in reads])
    whole = int(right.sum())
    interval = wilson(whole, len(right))
    return LineCell(
        form=condition.form,
        noise=condition.noise,
        level=condition.level,
        arm=arm,
        lines=len(right),
        whole=whole,
        low=interval.low,
        high=interval.high,
        digits=sum(map(len, numbers)),
        digit_errors=sum(edit_distance(read.number, number) for read, number in zip(reads, numbers, strict=True)),
        count_errors=sum(len(read.number) != len(number) for read, number in zip(reads, numbers, strict=True)),
        accepted=int(accepted.sum()),
        accepted_wrong=int((accepted & ~right).sum()),
        error_at_read=[(share, error_of(right, sure, share)) for share in CURVE],
        read_at_error=[(allowed, read_at(right, sure, allowed)) for allowed in ERRORS_ALLOWED],
    )


def edit_distance(one: str, other: str) -> int:
    """Levenshtein's: the fewest digits to insert, delete or replace."""
    row = list(range(len(other) + 1))
    for place, char in enumerate(one, 1):
        before, row[0] = row[0], place
        for at, rival in enumerate(other, 1):
            before, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, before + (char != rival))
    return row[-1]


def _observe(
    client: GatewayClient,
    condition: LineCondition,
    labelled: Sequence[tuple[bytes, str]],
    findings: LineFindings,
    in_flight: int,
    advance: Callable[[int], None],
) -> None:
    pictures, numbers = [png for png, _ in labelled], [number for _, number in labelled]
    for arm in ARMS:
        reads = list(_reads(client, pictures, arm, in_flight, advance))
        findings.cells.append(cell(condition, arm, numbers, reads))
    wrong = [
        Mistake(condition, number, read.number, read.confidence, png)
        for png, number, read in zip(pictures, numbers, reads, strict=True)
        if read.number != number
    ]
    findings.mistakes = sorted(findings.mistakes + wrong, key=lambda each: -each.confidence)[:WORST]


def _reads(
    client: GatewayClient, pictures: Sequence[bytes], arm: Denoise, in_flight: int, advance: Callable[[int], None]
) -> Iterator[LineRead]:
    with ThreadPoolExecutor(in_flight) as pool:
        for read in pool.map(partial(read_one, client, arm), pictures):
            advance(1)
            yield read


def read_one(client: GatewayClient, arm: Denoise, picture: bytes) -> LineRead:
    """What the gateway reads on one encoded picture."""
    exchange = client.read_line(picture, _kind(picture), denoise=arm)
    if exchange.status != 200:
        raise GatewayError(f"/v1/read answered {exchange.status}: {exchange.body[:300].decode(errors='replace')}")
    result = read_json(exchange, count=1)["results"][0]
    try:
        return LineRead(str(result["number"]), float(result["confidence"]), bool(result["accepted"]))
    except (KeyError, TypeError, ValueError) as exc:
        raise GatewayError(f"the answer is not what docs/API.md promises: {exchange.body[:300]!r}") from exc


def _kind(picture: bytes) -> str:
    return next((kind for magic, kind in _MAGIC.items() if picture.startswith(magic)), "image/png")


_MAGIC = {
    b"\x89PNG": "image/png",
    b"\xff\xd8": "image/jpeg",
    b"RIFF": "image/webp",
    b"BM": "image/bmp",
    b"GIF8": "image/gif",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
}


def _line(condition: LineCondition, cells: Sequence[LineCell]) -> str:
    shares = "   ".join(f"{each.arm} {100 * each.accuracy:6.2f} %" for each in cells[-len(ARMS) :])
    return f"lines {condition.form:>14} {condition.noise:>16} {condition.level:<5g} {shares}"
