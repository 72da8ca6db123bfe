"""Press the running chain and believe the result: python -m services.evaluator.load [--profile soak --minutes 10] ...

Locust presses, in a process of its own; this one chooses samples whose digits are known, watches the services' memory,
descriptors and threads, and judges. Exit status: 0 all well; 1 a wrong or missing answer, growth, or a lost process;
2 a wrong setting; 3 no gateway.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from services.evaluator import command
from services.evaluator.client import GatewayClient
from services.evaluator.config import EvaluatorConfig
from services.evaluator.data import dataset, samples
from services.evaluator.errors import EvaluatorError, ReportError
from services.evaluator.in_process import InProcessChain
from services.evaluator.load import lines
from services.evaluator.load import processes as watch

ROOT = Path(__file__).parents[3]
LOCUSTFILE = Path(__file__).with_name("locustfile.py")
SAMPLES = 1000
BEHIND_MS = 100.0  # an open run whose client is later than this, at p99, has measured the client
LATENESS = "sent behind schedule by"


@dataclass(frozen=True, slots=True)
class LoadRow:
    """One kind of request, as Locust counted it."""

    name: str
    requests: int
    failures: int
    per_s: float
    p50: float
    p95: float
    p99: float
    max: float


def main(argv: Sequence[str] | None = None) -> int:
    """Run one load test; the verdict goes to stdout, files into reports/load/<profile>."""
    about = "Load on the running chain, every answer checked."
    return command.run(_run, _add_arguments, module="services.evaluator.load", about=about, argv=argv)


def _run(arguments: argparse.Namespace, config: EvaluatorConfig) -> int:
    folder = arguments.report / arguments.profile
    client = GatewayClient(arguments.url, timeout_s=config.timeout_s, api_key=config.api_key)
    client.require_ready()
    data = dataset.load(arguments.dataset)
    chosen: lines.LineSamples | samples.Samples
    if arguments.profile == "lines":
        chosen = lines.choose(data, client, seed=config.seed)
    else:
        chain = InProcessChain(arguments.models, **client.served_models(data.images[:1]))
        chosen = samples.choose(data, chain, count=SAMPLES, seed=config.seed)
    try:
        chosen.save(_samples(folder, arguments.profile))
    except OSError as exc:
        raise ReportError(f"cannot write to {folder}: {exc.strerror}") from exc
    port = urlsplit(arguments.url).port or 80
    watched = watch.Watch(watch.service_processes(port, arguments.pid), every_s=min(1.0, arguments.minutes))
    stats = folder / "stats.json"
    stats.unlink(missing_ok=True)
    watched.start()
    try:
        status = subprocess.run(_locust(arguments, folder), env=_environment(), cwd=ROOT, check=False).returncode
    finally:
        watched.stop()
    if arguments.web:
        return status
    if not stats.is_file():
        raise EvaluatorError(f"Locust ended with status {status} and no statistics; its message is above")
    found = rows(json.loads(stats.read_text()))
    problems = judge(found, arguments.profile, watched, soak=arguments.profile == "soak")
    _save(folder, found, problems, watched)
    _print(found, problems, watched, folder)
    return 1 if problems or status else 0


def rows(stats: list[dict[str, Any]]) -> list[LoadRow]:
    """Locust's JSON as rows; its histogram has milliseconds as keys, rounded to two digits above 100."""
    found = []
    for entry in sorted(stats, key=lambda entry: entry["name"]):
        times = sorted((float(ms), count) for ms, count in entry["response_times"].items())
        seconds = max(entry["last_request_timestamp"] - entry["start_time"], 1e-9)
        found.append(
            LoadRow(
                entry["name"],
                entry["num_requests"],
                entry["num_failures"],
                entry["num_requests"] / seconds,
                _quantile(times, 0.5),
                _quantile(times, 0.95),
                _quantile(times, 0.99),
                entry["max_response_time"],
            )
        )
    return found


def judge(found: Sequence[LoadRow], profile: str, watched: watch.Watch, *, soak: bool) -> list[str]:
    """Everything that makes this run a failure; empty when it was good."""
    problems = [f"{row.name}: {row.failures} of {row.requests} failed" for row in found if row.failures]
    if not sum(row.requests - row.failures for row in found if row.name != LATENESS):
        problems.append("nothing was answered")
    problems += [f"{name} ended during the run" for name in watched.lost]
    if soak:
        problems += watch.growth(watched.series) if watched.series else ["no service process was found to watch"]
    late = next((row for row in found if row.name == LATENESS), None)
    if profile == "open" and late and late.p99 > BEHIND_MS:
        problems.append(
            f"the client fell {late.p99:.0f} ms behind its schedule (p99): the rate is more than it can send"
        )
    return problems


def _locust(arguments: argparse.Namespace, folder: Path) -> list[str]:
    seconds = 60 * arguments.minutes
    command = [
        sys.executable, "-m", "locust", "--locustfile", str(LOCUSTFILE), "--host", arguments.url,
        "--samples", str(_samples(folder, arguments.profile).resolve()), "--load-profile", arguments.profile,
        "--seconds", str(seconds), "--peak", str(arguments.users), "--rate", str(arguments.rate),
        "--loglevel", "WARNING",
    ]  # fmt: skip
    if arguments.web:
        return command
    files = ["--html", str((folder / "report.html").resolve()), "--json-file", str((folder / "stats").resolve())]
    return [*command, "--headless", "--only-summary", "--stop-timeout", "10", *files]


def _samples(folder: Path, profile: str) -> Path:
    return folder / ("lines.json" if profile == "lines" else "samples.npz")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def _add_arguments(parser: argparse.ArgumentParser, config: EvaluatorConfig) -> None:
    profiles = ("mix", "step", "spike", "soak", "open", "lines")
    parser.add_argument(
        "--profile",
        choices=profiles,
        default="mix",
        help="open: constant arrivals, not constant users; lines: numbers on /v1/read",
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="how long")
    parser.add_argument("--users", type=int, default=32, help="at the peak, each with one request after the other")
    parser.add_argument("--rate", type=float, default=200.0, help="arrivals a second, for the open profile")
    parser.add_argument("--report", type=Path, default=Path("reports/load"), help="folder for reports")
    parser.add_argument(
        "--pid", type=int, action="append", default=[], help="watch this process, not all that are found"
    )
    parser.add_argument("--web", action="store_true", help="Locust's own page on http://127.0.0.1:8089 instead")


def _save(folder: Path, found: Sequence[LoadRow], problems: Sequence[str], watched: watch.Watch) -> None:
    series = {name: [asdict(sample) for sample in each] for name, each in watched.series.items()}
    text = json.dumps(
        {"rows": [asdict(row) for row in found], "problems": list(problems), "processes": series}, indent=1
    )
    (folder / "load.json").write_text(text + "\n", encoding="utf-8")


def _print(found: Sequence[LoadRow], problems: Sequence[str], watched: watch.Watch, folder: Path) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    table = Table("request", *("requests", "failed", "per s", "p50 ms", "p95 ms", "p99 ms", "max ms"))
    for column in table.columns[1:]:
        column.justify = "right"
    for row in found:
        times = (f"{value:.0f}" for value in (row.p50, row.p95, row.p99, row.max))
        table.add_row(row.name, f"{row.requests:,}", f"{row.failures:,}", f"{row.per_s:.1f}", *times)
    console.print(table)
    for name, series in watched.series.items():
        if series:
            first, last = series[0], series[-1]
            console.print(
                f"{name}: memory {first.memory_mib:.0f} to {last.memory_mib:.0f} MiB, descriptors "
                f"{first.descriptors} to {last.descriptors}, threads {first.threads} to {last.threads}"
            )
    for problem in problems:
        console.print(f"[bold red]FAILED[/] {problem}")
    if not problems:
        console.print("[bold green]good[/]: every answer was right")
    console.print(f"report: {os.path.relpath(folder / 'report.html')}", soft_wrap=True)


def _quantile(times: Sequence[tuple[float, int]], share: float) -> float:
    total, seen = sum(count for _, count in times), 0
    for ms, count in times:
        seen += count
        if seen >= share * total:
            return ms
    return 0.0


if __name__ == "__main__":
    sys.exit(main())
