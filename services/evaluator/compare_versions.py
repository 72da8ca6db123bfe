"""Do two versions read alike? python -m services.evaluator.compare_versions stable canary [--require 'agreement>=0.99']

A version is a label that the gateway's CLEARDIGITS_GATEWAY_SPLIT names, with 0 percent if no user is to get it, or the
address of a gateway of its own. Exit status: 0 all required was met; 1 it was not; 2 a wrong setting, data set or
folder; 3 a gateway failed, or both are the same versions.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np

from services.core.noise import NOISES, Images
from services.evaluator import command
from services.evaluator.client import GatewayClient
from services.evaluator.config import EvaluatorConfig
from services.evaluator.data import dataset
from services.evaluator.errors import GatewayError
from services.evaluator.measure.experiment import Condition
from services.evaluator.measure.results import CLEAN, HEADLINE_LEVEL, HEADLINE_NOISE
from services.evaluator.measure.versions import Bound, Readings, Scores, Verdict, bound, together, verdict
from services.evaluator.progress import Progress, Task
from services.evaluator.report import differences
from services.evaluator.report import html as report

MISSED = 1
MOST_PAIRS = 10  # in the summary; the page has them all


def main(argv: Sequence[str] | None = None) -> int:
    """Send the same pictures to both; the verdict goes to stdout, files into the report folder."""
    about = "Agreement of two versions on the same pictures, and where they differ."
    return command.run(
        _run,
        _add_arguments,
        module="services.evaluator.compare_versions",
        about=about,
        argv=argv,
        shared=("--url", "--dataset"),
    )


def _run(arguments: argparse.Namespace, config: EvaluatorConfig) -> int:
    report.write(arguments.report, {})  # an unwritable folder is found out now
    names = arguments.first, arguments.second
    clients = [_client(name, arguments.url, config) for name in names]
    for client in clients:
        client.require_ready()
    images, labels, is_captured = _pictures(arguments)
    default = [] if is_captured else [HEADLINE_NOISE]
    noises = default if arguments.noise is None else arguments.noise
    versions = _versions(clients, images)
    if versions[0] == versions[1]:
        raise GatewayError(f"{names[0]} and {names[1]} are the same: {versions[0]}")
    kinds = [Condition(CLEAN, 0.0), *(Condition(noise, arguments.level) for noise in noises)]
    with (
        ThreadPoolExecutor(config.in_flight) as pool,
        Progress().task("pictures", 2 * len(kinds) * len(images), "pictures") as task,
    ):
        parts = [_read(kind, images, labels, clients, arguments, config, pool, task) for kind in kinds]
    if _versions(clients, images) != versions:
        raise GatewayError("a version changed while pictures were read: these answers compare nothing")
    verdicts = [*map(verdict, parts), together(parts)]
    found = {
        "first": [names[0], versions[0]],
        "second": [names[1], versions[1]],
        "verdicts": list(map(asdict, verdicts)),
    }
    page = differences.page(names, versions, parts, verdicts)
    report.write(arguments.report, {"differences.html": page, "versions.json": json.dumps(found, indent=1) + "\n"})
    _print_summary(names, versions, verdicts, arguments.require, arguments.report)
    return 0 if all(each.met(verdicts[-1]) for each in arguments.require) else MISSED


def _add_arguments(parser: argparse.ArgumentParser, config: EvaluatorConfig) -> None:
    parser.add_argument("first", nargs="?", default="stable", help="a label, or the address of a gateway")
    parser.add_argument("second", nargs="?", default="canary", help="the same for the version on trial")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="pictures without labels, instead of a dataset")
    parser.add_argument("--images", type=command.count, default=2000, help="how many pictures of each kind")
    parser.add_argument(
        "--noise",
        nargs="*",
        choices=list(NOISES),
        metavar="KIND",
        help=f"beside clean ones ({HEADLINE_NOISE}; beside corrections none)",
    )
    parser.add_argument("--level", type=_level, default=HEADLINE_LEVEL, help="of the noise, above 0 to 1")
    parser.add_argument("--denoise", choices=("always", "never", "auto"), default="always", help="as in docs/API.md")
    parser.add_argument("--seed", type=command.from_zero, default=config.seed, help="of the noise")
    parser.add_argument("--report", type=Path, default=Path("reports/versions"), help="folder for pictures and counts")
    parser.add_argument(
        "--require", type=bound, action="append", default=[], metavar="BOUND",
        help="agreement>=0.99, or accuracy>=0.98 of the second, over all pictures; may be repeated",
    )  # fmt: skip


def _client(name: str, url: str, config: EvaluatorConfig) -> GatewayClient:
    own = name.startswith(("http://", "https://"))
    return GatewayClient(
        name if own else url, timeout_s=config.timeout_s, api_key=config.api_key, label="" if own else name
    )


def _pictures(arguments: argparse.Namespace) -> tuple[Images, np.ndarray | None, bool]:
    """Pictures, their labels, and whether users sent them as they are."""
    if arguments.pictures:
        return dataset.unlabelled(arguments.pictures)[: arguments.images], None, False
    data = dataset.load(arguments.dataset).first(arguments.images)
    return data.images, data.labels, data.is_captured


def _versions(clients: Sequence[GatewayClient], images: Images) -> list[str]:
    """What each client is answered by, in words."""
    found = [client.served_models(images[:1]) for client in clients]
    return [", ".join(f"{role} {version}" for role, version in models.items()) for models in found]


def _read(
    kind: Condition,
    images: Images,
    labels: np.ndarray | None,
    clients: Sequence[GatewayClient],
    arguments: argparse.Namespace,
    config: EvaluatorConfig,
    pool: ThreadPoolExecutor,
    task: Task,
) -> Readings:
    noisy = kind.apply(images, arguments.seed)

    def ask(job: tuple[GatewayClient, int]) -> Scores:
        client, start = job
        part = noisy[start : start + config.batch]
        scores = client.probabilities(part, arguments.denoise)
        task.advance(len(part))
        return scores

    starts = range(0, len(noisy), config.batch)
    answers = list(pool.map(ask, [(client, start) for client in clients for start in starts]))
    first, second = (np.concatenate(answers[at : at + len(starts)]) for at in (0, len(starts)))
    name = "clean" if kind.noise == CLEAN else f"{kind.noise.replace('_', ' ')} {kind.level:g}"
    return Readings(name, noisy, first, second, labels)


def _print_summary(
    names: tuple[str, str],
    versions: Sequence[str],
    verdicts: Sequence[Verdict],
    required: Sequence[Bound],
    folder: Path,
) -> None:
    for name, version in zip(names, versions, strict=True):
        print(f"{name}: {version}")
    for each in verdicts:
        low, high = 100 * each.interval.low, 100 * each.interval.high
        line = f"{each.kind}: {each.total} pictures, agreement {100 * each.agreement:.2f} % ({low:.2f} to {high:.2f})"
        if each.first_right is not None and each.second_right is not None:
            right = (100 * count / each.total for count in (each.first_right, each.second_right))
            line += ", right {:.2f} and {:.2f} %".format(*right) + f" (p = {each.p_value:.4f})"
        print(line)
    for first, second, count in verdicts[-1].pairs[:MOST_PAIRS]:
        print(f"  {first} read as {second}: {count}")
    for bar in required:
        value = bar.measured(verdicts[-1])
        shown = "no labels to know it by" if value is None else f"{value:.4f}"
        print(f"{bar.text}: {'met' if bar.met(verdicts[-1]) else 'MISSED'}, {shown}")
    print(f"pictures: {os.path.relpath(folder / 'differences.html')}")


def _level(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
