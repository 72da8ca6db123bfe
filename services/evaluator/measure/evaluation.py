"""The whole run: accuracy through every arm, quality, latency. What was measured before a failure is kept."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.core.model_digest import pair
from services.core.noise import NOISES
from services.evaluator.client import Denoise, GatewayClient
from services.evaluator.data.dataset import Dataset
from services.evaluator.errors import GatewayError
from services.evaluator.in_process import TOLERANCE, Difference, InProcessChain
from services.evaluator.measure import experiment, gallery, latency, quality
from services.evaluator.measure.experiment import Condition, Outcome
from services.evaluator.measure.results import ARMS, CLEAN, HEADLINE_LEVEL, Equality, Latency, Quality, Results
from services.evaluator.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to measure."""

    noises: Sequence[str] = tuple(NOISES)
    levels: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0)
    arms: Sequence[Denoise] = tuple(ARMS)
    images: int = 10_000
    quality_images: int = 500  # of each condition: these travel as PNG in JSON, which takes time
    latency_requests: int = 3000
    seed: int
    batch: int
    in_flight: int

    def quick(self) -> Plan:
        """Under a minute on two cores: every noise, at no noise and at the headline level."""
        return replace(self, levels=(0.0, HEADLINE_LEVEL), images=1000, quality_images=64, latency_requests=400)


@dataclass(slots=True)
class Findings:
    """The numbers, with what only a report needs: pictures, and which image was read rightly in which cell."""

    results: Results
    pictures: dict[str, list[gallery.Exhibit]] = field(default_factory=dict)
    right: dict[str, NDArray[np.bool_]] = field(default_factory=dict)


def evaluate(
    plan: Plan, dataset: Dataset, client: GatewayClient, models: Path, *, command: str, progress: Progress
) -> Findings:
    """Run the plan. A gateway that fails for good ends it early: the findings then say why they are partial."""
    client.require_ready()
    dataset = dataset.first(plan.images)
    served = client.served_models(dataset.images[:1])
    chain = InProcessChain(models, **served)
    findings = Findings(Results(_conditions(plan, client, command), _described(dataset), served))
    findings.results.run["pair"] = str(pair(models, **served))
    try:
        _accuracy(plan, dataset, client, chain, findings, progress)
        _latency(plan, dataset, client, chain, findings.results, progress)
        if (served_now := client.served_models(dataset.images[:1])) != served:
            raise GatewayError(f"the models changed during the run: {served} at first, {served_now} at the end")
        findings.results.complete = True
    except GatewayError as exc:
        findings.results.stopped_because = str(exc)
    except KeyboardInterrupt:
        findings.results.stopped_because = "stopped by the user"
    findings.results.run["retries"] = client.retries
    return findings


def _accuracy(
    plan: Plan, dataset: Dataset, client: GatewayClient, chain: InProcessChain, findings: Findings, progress: Progress
) -> None:
    results, total = findings.results, Difference(0, 0, 0.0)
    conditions = experiment.grid(plan.noises, plan.levels)
    headline = _headline(conditions)
    with (
        ThreadPoolExecutor(plan.in_flight) as pool,
        progress.task("accuracy", len(conditions) * len(plan.arms) * len(dataset), "images") as task,
    ):
        for condition in conditions:
            outcome = experiment.observe(
                condition, dataset, client, chain,
                arms=plan.arms, seed=plan.seed, batch=plan.batch, pool=pool, advance=task.advance,
            )  # fmt: skip
            _record(outcome, dataset, findings)
            total += outcome.difference
            results.equality = Equality(total.images, total.digits_differ, total.largest, TOLERANCE, total.equal)
            if condition.noise != CLEAN:
                results.qualities.append(_quality(plan, outcome, dataset, client))
            if condition in (Condition(CLEAN, 0.0), headline):
                results.confusions += [experiment.confusion(outcome, arm, dataset.labels) for arm in plan.arms[:2]]
                results.reliabilities += [experiment.reliability(outcome, arm, dataset.labels) for arm in plan.arms[:2]]
            _keep_pictures(outcome, dataset, headline, findings)
            progress.say(_line(results, condition))


def _record(outcome: Outcome, dataset: Dataset, findings: Findings) -> None:
    for arm, scores in outcome.scores.items():
        cell = experiment.cell(outcome, arm, dataset.labels)
        findings.results.cells.append(cell)
        findings.right[cell.name] = scores.argmax(axis=1) == dataset.labels
    findings.results.pairs += experiment.pairs(outcome, dataset.labels)


def _quality(plan: Plan, outcome: Outcome, dataset: Dataset, client: GatewayClient) -> Quality:
    count = min(plan.quality_images, len(dataset))
    parts = []
    for start in range(0, count, plan.batch):
        part = outcome.noisy[start : min(start + plan.batch, count)]
        parts.append(quality.returned_images(client.recognize(part, "always", include="denoised")))
    returned = np.concatenate(parts)
    where = (outcome.condition.noise, outcome.condition.level)
    return quality.compare(*where, dataset.images[:count], outcome.noisy[:count], returned)


def _keep_pictures(outcome: Outcome, dataset: Dataset, headline: Condition, findings: Findings) -> None:
    if not {"never", "always"} <= outcome.scores.keys():
        return
    condition = outcome.condition
    if condition.level == headline.level or condition.noise == headline.noise:
        name = f"{condition.noise}@{condition.level:g}"
        findings.pictures[name] = gallery.examples(outcome, dataset.images, dataset.labels)
    if condition == headline:
        findings.pictures["worst"] = gallery.worst(outcome, dataset.images, dataset.labels)


def _latency(
    plan: Plan, dataset: Dataset, client: GatewayClient, chain: InProcessChain, results: Results, progress: Progress
) -> None:
    noisy = Condition("gaussian", HEADLINE_LEVEL).apply(dataset.first(1024).images, plan.seed)
    impatient = client.impatient()
    cases = latency.cases(noisy, plan.latency_requests, chain)
    with progress.task("latency", sum(case.requests for case in cases), "requests") as task:
        for case in cases:
            results.latencies.append(latency.measure(case, impatient, task.advance))
            progress.say(_latency_line(results.latencies[-1]))


def _headline(conditions: Sequence[Condition]) -> Condition:
    """Gaussian at 0.5, or what is nearest to it in this grid."""
    noisy = [each for each in conditions if each.noise != CLEAN] or list(conditions)
    return min(noisy, key=lambda each: (each.noise != "gaussian", abs(each.level - HEADLINE_LEVEL)))


def _described(dataset: Dataset) -> dict[str, object]:
    return {"name": dataset.name, "images": len(dataset), "sha256": dataset.sha256}


def _conditions(plan: Plan, client: GatewayClient, command: str) -> dict[str, object]:
    """What a reader needs to judge the numbers, or to make them again."""
    settings = {name: value for name, value in asdict(plan).items() if name not in ("noises", "arms", "levels")}
    return {
        "command": command,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "url": client.url,
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **settings,
    }


def _cpu() -> str:
    """The processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] \
        if info.is_file() else []  # fmt: skip
    return names[0] if names else platform.processor() or platform.machine()


def _line(results: Results, condition: Condition) -> str:
    cells = [results.cell(condition.noise, condition.level, arm) for arm in results.arms()]
    shares = "   ".join(f"{ARMS[cell.arm]} {100 * cell.accuracy:6.2f} %" for cell in cells if cell)
    return f"{condition.noise:>16} {condition.level:<5g} {shares}"


def _latency_line(case: Latency) -> str:
    if not case.ms:
        return f"{case.case}: no answers, {case.errors} errors"
    return f"{case.case:>36}   p50 {case.ms['p50']:.2f} ms   p99 {case.ms['p99']:.2f} ms   {case.errors} errors"
