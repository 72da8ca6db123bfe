"""Measure the running chain: python -m services.evaluator [--quick] [--require 'gaussian@0.5>=0.98'] ...

Exit status: 0 all well; 1 a requirement was missed, or answers were missing, wrong or not those of in-process calls;
2 a wrong setting, data set or folder; 3 the gateway failed, with what was measured until then kept, marked partial.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from services.core.model_digest import pair
from services.core.noise import NOISES
from services.evaluator import command
from services.evaluator.client import GatewayClient
from services.evaluator.config import EvaluatorConfig
from services.evaluator.data import dataset
from services.evaluator.errors import GatewayError, ReportError
from services.evaluator.measure import compare, gallery, lines, results
from services.evaluator.measure.evaluation import Findings, Plan, evaluate
from services.evaluator.measure.requirements import Requirement, requirement
from services.evaluator.progress import Progress
from services.evaluator.report import html as report
from services.evaluator.report import lines as line_report
from services.evaluator.report import markdown
from services.evaluator.report import strip as pictures

MISSED = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run an evaluation; the summary goes to stdout, progress to stderr, files into the report folder."""
    about = "Accuracy and latency of the running chain on noisy digits."
    return command.run(_run, _add_arguments, module="services.evaluator", about=about, argv=argv)


def _run(arguments: argparse.Namespace, config: EvaluatorConfig) -> int:
    report.write(arguments.report, {})  # an unwritable folder is found out now, not after a quarter of an hour
    old = _read_old(arguments.compare) if arguments.compare else None
    client = GatewayClient(arguments.url, timeout_s=config.timeout_s, api_key=config.api_key)
    if arguments.dataset and (arguments.dataset / "labels.csv").is_file():
        return _only_lines(arguments, config, client)
    data = dataset.load(arguments.dataset)
    if data.is_captured:  # noisy as it came, and no digits to write lines with
        arguments.levels = arguments.levels or [0.0]
        arguments.lines = arguments.lines or 0
    findings = evaluate(
        _plan(arguments, config), data, client, arguments.models, command=arguments.command, progress=Progress()
    )
    found = findings.results
    changes = compare.compare(old[0], found, old[1], findings.right) if old else []
    report.write(arguments.report, _files(findings))  # before anything is drawn: drawings can be made again
    if not arguments.no_html:
        page = report.html(found, findings.pictures, changes=changes, requirements=arguments.require)
        report.write(arguments.report, {"report.html": page})
    _print_summary(found, changes, arguments.require, arguments.report)
    if arguments.update_readme:
        for path in markdown.update_documents(found):
            print(f"updated {path}")
        pictures.draw_strip(client, data, config.seed, pictures.STRIP)
        print(f"drawn {pictures.STRIP}")
    if found.complete and (count := _lines(arguments)):
        read = lines.measure(
            client, data, count=count, seed=arguments.seed, in_flight=config.in_flight, quick=arguments.quick,
            speed_requests=arguments.latency_requests, progress=Progress(),
        )  # fmt: skip
        _tell_lines(read, arguments.report)
        if arguments.update_readme:
            models = str(pair(arguments.models, **found.models))
            line_report.PAGE.write_text(line_report.page(read, models=models), encoding="utf-8")
            print(f"updated {line_report.PAGE}")
        if read.stopped_because:
            return GatewayError.exit_status
    if not found.complete:
        return GatewayError.exit_status
    all_met = all(each.met(found) for each in arguments.require)
    all_right = found.equality and found.equality.equal and not any(case.errors for case in found.latencies)
    return 0 if all_met and all_right else MISSED


def _lines(arguments: argparse.Namespace) -> int:
    """How many lines of each kind."""
    given: int | None = arguments.lines
    return (0 if arguments.quick else 1000) if given is None else given


def _only_lines(arguments: argparse.Namespace, config: EvaluatorConfig, client: GatewayClient) -> int:
    """A folder of a user's own lines, with labels.csv."""
    client.require_ready()
    read = lines.measure_folder(client, arguments.dataset, in_flight=config.in_flight, progress=Progress())
    _tell_lines(read, arguments.report)
    return GatewayError.exit_status if read.stopped_because else 0


def _tell_lines(read: lines.LineFindings, folder: Path) -> None:
    files: dict[str, str | bytes] = {"lines.json": read.to_json(), "lines.md": line_report.page(read)}
    if picture := line_report.mistakes(read):
        files["lines-worst.png"] = picture
    report.write(folder, files)
    print(line_report.table(read.cells))
    if read.stopped_because:
        print(f"PARTIAL: {read.stopped_because}")


def _add_arguments(parser: argparse.ArgumentParser, config: EvaluatorConfig) -> None:
    parser.add_argument("--quick", action="store_true", help="every noise at 0 and 0.5 on 1000 images: under a minute")
    parser.add_argument(
        "--noise", nargs="+", choices=list(NOISES), default=list(NOISES), metavar="KIND", help="noise kinds"
    )
    parser.add_argument(
        "--levels",
        nargs="+",
        type=command.share,
        metavar="LEVEL",
        help="noise levels, 0 to 1 (0 0.25 0.5 0.75 1; of corrections 0)",
    )
    parser.add_argument("--images", type=command.count, help="how many images (10000, or all there are)")
    parser.add_argument(
        "--lines",
        type=command.from_zero,
        metavar="N",
        help="lines of digits of each kind (1000; with --quick or corrections none)",
    )
    parser.add_argument(
        "--latency-requests",
        type=command.count,
        metavar="N",
        help="single requests of each kind (3000; beside lines 1000)",
    )
    parser.add_argument("--seed", type=command.from_zero, default=config.seed, help="of the noise")
    parser.add_argument("--report", type=Path, default=Path("reports/evaluation"), help="folder for the report")
    parser.add_argument("--no-html", action="store_true", help="numbers only, as a gate needs them")
    parser.add_argument("--compare", type=Path, metavar="JSON", help="an earlier evaluation.json: what changed?")
    parser.add_argument(
        "--require", type=requirement, action="append", default=[], metavar="BOUND",
        help="such as gaussian@0.5>=0.98, clean/never>=0.99 or p99_ms<=20; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--update-readme", action="store_true", help="refresh docs/results and the tables that quote it"
    )


def _plan(arguments: argparse.Namespace, config: EvaluatorConfig) -> Plan:
    plan = Plan(noises=arguments.noise, seed=arguments.seed, batch=config.batch, in_flight=config.in_flight)
    plan = plan.quick() if arguments.quick else plan
    given = {
        "levels": sorted(set(arguments.levels)) if arguments.levels else None,
        "images": arguments.images,
        "latency_requests": arguments.latency_requests,
    }
    return replace(plan, **{name: value for name, value in given.items() if value is not None})


def _files(findings: Findings) -> dict[str, str | bytes]:
    right = io.BytesIO()
    bits: dict[str, Any] = {name: np.packbits(each) for name, each in findings.right.items()}
    np.savez_compressed(right, **bits)
    return {
        "evaluation.json": findings.results.to_json(),
        "gallery.json": gallery.to_json(findings.pictures),
        "outcomes.npz": right.getvalue(),
        "tables.md": "\n\n".join(markdown.blocks(findings.results).values()) + "\n",
    }


def _read_old(path: Path) -> tuple[results.Results, compare.RightAnswers]:
    """Earlier numbers and, if they were kept beside them, which images were read rightly."""
    old = results.read(path)
    outcomes = path.with_name("outcomes.npz")
    if not outcomes.is_file():
        return old, {}
    count = old.dataset["images"]
    try:
        with np.load(outcomes, allow_pickle=False) as file:
            return old, {name: np.unpackbits(file[name], count=count).astype(bool) for name in file}
    except (OSError, ValueError) as exc:
        raise ReportError(f"cannot read {outcomes}: {exc}") from exc


def _print_summary(
    found: results.Results, changes: Sequence[compare.Change], required: Sequence[Requirement], folder: Path
) -> None:
    tables = markdown.blocks(found)
    print(f"{tables['accuracy']}\n\n{tables['latency']}\n\n{tables['conditions']}\n")
    for change in changes:
        if change.significant:
            print(f"{change.new.name}: {change.points:+.2f} points (p = {change.p_value:.4f})")
    if changes:
        print(f"{sum(c.significant for c in changes)} of {len(changes)} cells changed by more than luck")
    for each in required:
        measured = each.measured(found)
        verdict = "met" if each.met(found) else "MISSED"
        print(f"{each.text}: {verdict}, {'not measured' if measured is None else f'{measured:.4f}'}")
    if found.equality and not found.equality.equal:
        print(f"DIFFERENT: answers over HTTP are not those of the models in-process ({found.equality})")
    for case in found.latencies:
        if case.errors:
            print(f"FAILED: {case.case}: {case.errors} of {case.requests} answers missing or wrong")
    if not found.complete:
        print(f"PARTIAL: {found.stopped_because}")
    print(f"report: {os.path.relpath(folder)}")


if __name__ == "__main__":
    sys.exit(main())
