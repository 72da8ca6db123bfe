"""MLPerf LoadGen drives the chain over HTTP: python -m services.evaluator.loadgen [--bound-ms 15] [--seconds 10] ...

SingleStream, MultiStream, Server (the highest rate whose p99 stays within the bound), Offline, and AccuracyOnly.
LoadGen judges VALID or INVALID by its own statistics; an answer that is wrong or missing makes a run INVALID here, too.
Its raw logs are kept. Exit status: 0; 1 an answer was wrong or missing, or a --require was missed; 2 a wrong setting;
3 no gateway.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import mlperf_loadgen
import numpy as np
from mlperf_loadgen import TestMode, TestScenario
from rich.console import Console
from rich.table import Table

from services.core.noise import gaussian
from services.evaluator import command
from services.evaluator.client import GatewayClient
from services.evaluator.config import EvaluatorConfig
from services.evaluator.data import dataset, samples
from services.evaluator.errors import ReportError
from services.evaluator.in_process import InProcessChain
from services.evaluator.loadgen.logs import LoadgenVerdict, digits, highest, verdict
from services.evaluator.loadgen.sut import HttpSut

SAMPLES = 1000
ACCURACY_LEVEL = 0.5
STREAM_SAMPLES = 8  # LoadGen's MultiStream: so many in one query
OFFLINE_IMAGES = 128  # in one request
NS_PER_MS = 1_000_000
SEARCH_S = 60.0  # for the highest rate of the Server scenario; all scenarios together take less than three minutes
FLOOR_S = 2.0  # the least a run of the client alone takes
LONGEST = 4  # times the least duration: a rate too low for enough queries by then is INVALID, not endless
FEWEST_QUERIES = {
    "SingleStream": 662,
    "MultiStream": 662,
    "Server": 662,
    "Offline": 1,
}  # MLPerf: p99 needs 662, Server 459
THREADS = {"SingleStream": 1, "MultiStream": 1, "Server": 64, "Offline": 3}
IMAGES = {"SingleStream": 1, "MultiStream": STREAM_SAMPLES, "Server": 1, "Offline": OFFLINE_IMAGES}


@dataclass(frozen=True, slots=True)
class Run:
    """One run of LoadGen: what it was, what LoadGen says, what was wrong with the answers."""

    scenario: str
    rate: float
    verdict: LoadgenVerdict
    mistakes: dict[str, int]
    folder: str
    floor: dict[str, float] = field(default_factory=dict)  # the same percentiles of the client alone

    @property
    def valid(self) -> bool:
        """Fast enough by LoadGen, and right."""
        return self.verdict.valid and not self.mistakes


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """Everything runs have in common."""

    url: str
    api_key: str
    samples: samples.Samples
    seconds: float
    bound_ms: float
    report: Path
    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))

    def with_floor(self, run: Run) -> Run:
        """The run with what the same client takes, at the same rate, for requests that compute nothing."""
        brief = replace(self, seconds=min(self.seconds, FLOOR_S))
        alone = brief.run(run.scenario, rate=run.rate, empty=True)
        return replace(run, floor={name: alone.verdict.figures.get(name, 0.0) for name in ("p50_ms", "p99_ms")})

    def run(
        self, scenario: str, *, rate: float = 0.0, accuracy: bool = False, longer: int = 1, empty: bool = False
    ) -> Run:
        """Run one scenario; `rate` is queries a second for Server, the expected samples a second for Offline."""
        name = "Accuracy" if accuracy else scenario
        said = f"{name}-client-alone" if empty else name
        folder = self.report / (f"{said}-{rate:.1f}" if scenario == "Server" else said)
        folder.mkdir(parents=True, exist_ok=True)
        sut = HttpSut(
            self.url, self.samples,
            threads=THREADS[scenario], images_per_request=IMAGES[scenario], api_key=self.api_key, empty=empty,
        )  # fmt: skip
        count = len(self.samples.digits)
        system = mlperf_loadgen.ConstructSUT(sut.issue, sut.flush)
        library = mlperf_loadgen.ConstructQSL(count, count, _keep, _keep)
        try:
            mlperf_loadgen.StartTestWithLogSettings(
                system, library, self._settings(scenario, rate, accuracy, longer), _log_settings(folder), ""
            )
        finally:
            mlperf_loadgen.DestroyQSL(library)
            mlperf_loadgen.DestroySUT(system)
            sut.close()
        summary = (folder / "mlperf_log_summary.txt").read_text()
        found = Run(name, rate, verdict(summary), {} if accuracy else dict(sut.mistakes), str(folder))
        outcome = "done" if accuracy or empty else "VALID" if found.valid else "INVALID"
        self.console.print(f"{folder.name}: {outcome}", soft_wrap=True)
        return found

    def server(self, start: float) -> list[Run]:
        """Find the highest valid rate; every run that was tried, the best one last."""
        tried: list[Run] = []
        ends = time.monotonic() + SEARCH_S

        def is_valid(rate: float) -> bool:
            tried.append(self.run("Server", rate=rate))
            within = tried[-1].verdict.figures.get("p99_ms", float("inf")) <= self.bound_ms
            if (
                within and not tried[-1].valid and time.monotonic() < ends
            ):  # fast enough, but of too few queries for LoadGen to be sure of it
                tried.append(self.run("Server", rate=rate, longer=2))
            return tried[-1].valid

        lowest = 1.2 * FEWEST_QUERIES["Server"] / (LONGEST * self.seconds)  # below it no run could issue enough queries
        best = highest(is_valid, start, lowest=lowest, go_on=lambda: time.monotonic() < ends)
        # the best run last; where none was valid, the one with the lowest rate
        return sorted(tried, key=lambda run: (run.rate == best and run.valid) if best else -run.rate)

    def offline(self, expected: float) -> Run:
        """LoadGen sizes its one query by the expected rate: where that was too low, ask again with the measured one."""
        run = self.run("Offline", rate=expected)
        for _ in range(2):
            if run.valid or run.mistakes:
                break
            run = self.run("Offline", rate=1.3 * run.verdict.figures["samples_per_s"])
        return run

    def _settings(self, scenario: str, rate: float, accuracy: bool, longer: int) -> mlperf_loadgen.TestSettings:
        settings = mlperf_loadgen.TestSettings()
        settings.scenario = getattr(TestScenario, scenario)
        settings.mode = TestMode.AccuracyOnly if accuracy else TestMode.PerformanceOnly
        settings.min_duration_ms = round(1000 * longer * self.seconds)
        settings.max_duration_ms = round(1000 * LONGEST * longer * self.seconds)
        settings.min_query_count = longer * FEWEST_QUERIES[scenario]
        settings.multi_stream_samples_per_query = STREAM_SAMPLES
        settings.server_target_latency_ns = round(self.bound_ms * NS_PER_MS)
        settings.server_target_qps = rate or 1.0
        settings.offline_expected_qps = rate or 1.0
        return settings


def main(argv: Sequence[str] | None = None) -> int:
    """Run the scenarios; the table goes to stdout, progress to stderr, logs into the report folder."""
    about = "MLPerf LoadGen against the running chain."
    return command.run(_run, _add_arguments, module="services.evaluator.loadgen", about=about, argv=argv)


def _run(arguments: argparse.Namespace, config: EvaluatorConfig) -> int:
    client = GatewayClient(arguments.url, timeout_s=config.timeout_s, api_key=config.api_key)
    client.require_ready()
    data = dataset.load(arguments.dataset)
    chain = InProcessChain(arguments.models, **client.served_models(data.images[:1]))
    driver = Driver(
        url=arguments.url,
        api_key=config.api_key,
        samples=samples.choose(data, chain, count=SAMPLES, seed=config.seed),
        seconds=arguments.seconds,
        bound_ms=arguments.bound_ms,
        report=arguments.report,
    )
    try:
        runs = _scenarios(driver, arguments)
        accuracy = _accuracy(driver, data, chain, config.seed) if "Accuracy" in arguments.scenarios else None
        _save(arguments.report, runs, accuracy)
    except OSError as exc:
        raise ReportError(f"cannot write to {arguments.report}: {exc.strerror}") from exc
    chosen = _best(runs)
    _print(chosen, accuracy, arguments)
    equal = accuracy is None or accuracy["digits_differ"] == 0
    right = equal and not any(run.mistakes for run in runs)
    return 0 if right and all(each.met(chosen) for each in arguments.require) else 1


def _scenarios(driver: Driver, arguments: argparse.Namespace) -> list[Run]:
    runs = [
        driver.with_floor(driver.run(name)) for name in ("SingleStream", "MultiStream") if name in arguments.scenarios
    ]
    if "Server" in arguments.scenarios:
        runs += driver.server(arguments.start_rate)
        runs[-1] = driver.with_floor(runs[-1])
    if "Offline" in arguments.scenarios:
        runs.append(driver.offline(2000.0))
    return runs


def _accuracy(driver: Driver, data: dataset.Dataset, chain: InProcessChain, seed: int) -> dict[str, Any]:
    """LoadGen sends every image once, Gaussian 0.5 and rounded to 8 bits; its log is read and compared in-process."""
    noisy = gaussian(data.images, ACCURACY_LEVEL, np.random.default_rng(seed))
    pixels = np.rint(255 * noisy[..., 0]).astype(np.uint8)
    driver = replace(driver, samples=samples.Samples(pixels, data.labels))
    run = driver.run("Offline", rate=1.0, accuracy=True)
    answered = digits((Path(run.folder) / "mlperf_log_accuracy.json").read_text())
    read = np.array([answered[at] for at in range(len(data))])
    expected = chain.classify(chain.denoise((pixels[..., None] / np.float32(255)).astype(np.float32))).argmax(axis=1)
    return {
        "images": len(data),
        "noise": f"gaussian {ACCURACY_LEVEL:g}, 8 bits",
        "accuracy": float(np.mean(read == data.labels)),
        "digits_differ": int(np.sum(read != expected)),
    }


@dataclass(frozen=True, slots=True)
class LoadgenRequirement:
    """A bound that a valid run has to keep."""

    scenario: str
    bound: float

    def met(self, runs: Sequence[Run]) -> bool:
        """A run that was not made, or is not valid, meets nothing."""
        run = next((run for run in runs if run.scenario == self.scenario and run.valid), None)
        if run is None:
            return False
        figures = run.verdict.figures
        if self.scenario == "Server":
            return run.rate >= self.bound
        if self.scenario == "Offline":
            return figures["samples_per_s"] >= self.bound
        return figures["p99_ms"] <= self.bound


def requirement(text: str) -> LoadgenRequirement:
    """Read one, for argparse."""
    match = re.fullmatch(r"(Server|Offline)>=([\d.]+)|(SingleStream|MultiStream)<=([\d.]+)", text.replace(" ", ""))
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not like Server>=200, Offline>=3000 or SingleStream<=5")
    return LoadgenRequirement(match[1] or match[3], float(match[2] or match[4]))


def _best(runs: Sequence[Run]) -> list[Run]:
    """One run of each scenario: the last, which for Server is the best."""
    return list({run.scenario: run for run in runs}.values())


def _save(folder: Path, runs: Sequence[Run], accuracy: dict[str, Any] | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    found = {"runs": [asdict(run) for run in runs], "accuracy": accuracy}
    (folder / "loadgen.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _print(runs: Sequence[Run], accuracy: dict[str, Any] | None, arguments: argparse.Namespace) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    table = Table("scenario", "result", "figure", "p50 ms", "p90 ms", "p99 ms", "client alone, p50 / p99")
    for run in runs:
        figures = run.verdict.figures
        figure = {
            "SingleStream": f"{figures.get('queries_per_s', 0):,.0f} queries/s, one after the other",
            "MultiStream": f"{STREAM_SAMPLES} images a query",
            "Server": f"{run.rate:,.1f} queries/s with p99 within {arguments.bound_ms:g} ms"
            if run.valid
            else f"none: p99 at the lowest rate, {run.rate:,.1f} queries/s, was {figures.get('p99_ms', 0):.1f} ms",
            "Offline": f"{figures.get('samples_per_s', 0):,.0f} images/s",
        }[run.scenario]
        times = (f"{figures[name]:.2f}" if name in figures else "" for name in ("p50_ms", "p90_ms", "p99_ms"))
        alone = f"{run.floor['p50_ms']:.2f} / {run.floor['p99_ms']:.2f}" if run.floor else ""
        table.add_row(run.scenario, "VALID" if run.valid else "[red]INVALID", figure, *times, alone)
    console.print(table)
    for run in runs:
        for reason in () if run.valid else (*run.verdict.reasons, *(f"{k}: {n}" for k, n in run.mistakes.items())):
            console.print(f"{run.scenario}: {reason}")
    if accuracy:
        console.print(
            f"AccuracyOnly: {100 * accuracy['accuracy']:.2f} % of {accuracy['images']:,} images ({accuracy['noise']}); "
            f"{accuracy['digits_differ']} digits differ from in-process calls"
        )
    console.print(f"logs: {os.path.relpath(arguments.report)}")


def _log_settings(folder: Path) -> mlperf_loadgen.LogSettings:
    output = mlperf_loadgen.LogOutputSettings()
    output.outdir = str(folder)
    output.copy_summary_to_stdout = False
    settings = mlperf_loadgen.LogSettings()
    settings.log_output = output
    settings.enable_trace = False
    return settings


def _keep(indices: list[int]) -> None:
    """LoadGen says which samples to load or unload; all of them stay in memory."""


def _add_arguments(parser: argparse.ArgumentParser, config: EvaluatorConfig) -> None:
    scenarios = ("SingleStream", "MultiStream", "Server", "Offline", "Accuracy")
    parser.add_argument("--scenarios", nargs="+", choices=scenarios, default=scenarios, metavar="NAME", help="which")
    parser.add_argument("--bound-ms", type=float, default=15.0, help="what p99 may take in the Server scenario")
    parser.add_argument("--seconds", type=float, default=10.0, help="the least each run takes")
    parser.add_argument(
        "--start-rate", type=float, default=200.0, help="queries a second the Server search begins with"
    )
    parser.add_argument(
        "--require", type=requirement, action="append", default=[], metavar="BOUND",
        help="such as Server>=200 (queries/s), Offline>=3000 (images/s) or SingleStream<=5 (p99, ms); may be repeated",
    )  # fmt: skip
    parser.add_argument("--report", type=Path, default=Path("reports/loadgen"), help="folder for logs")


if __name__ == "__main__":
    sys.exit(main())
