"""What chaining two served models costs.

    python -m services.evaluator.studies.chaining_cost      (make cost exports the fused model first)

Two served models against one fused model (classifier after denoiser in one graph) behind the same gateway, and against
the same graphs called in-process. The stack it measures is its own, on free ports, so that nothing else is different.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from services.core.model_digest import versions
from services.core.noise import Images
from services.core.tensors import to_proto
from services.evaluator import command
from services.evaluator.client import GatewayClient
from services.evaluator.config import EvaluatorConfig
from services.evaluator.data import dataset
from services.evaluator.errors import ReportError
from services.evaluator.in_process import InProcessChain, OnnxModel, difference
from services.evaluator.measure import latency
from services.evaluator.measure.experiment import Condition
from services.evaluator.measure.results import HEADLINE_LEVEL, HEADLINE_NOISE
from services.evaluator.progress import Progress
from services.evaluator.report import html as report
from services.evaluator.studies.local_stack import gateway, model_server
from services.pb import tfserving_pb2 as pb

IMAGES = 1024


@dataclass(frozen=True, slots=True)
class Way:
    """One way to get a digit out of an image."""

    name: str
    p50_ms: float  # one image
    p99_ms: float
    images_per_s: float  # requests of 256
    wire_bytes: int  # between services, for one image
    model_bytes: int  # files loaded


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all ways; the table goes to stdout. Exit status 1 when they do not answer alike."""
    about = "What chaining two served models costs."
    return command.run(
        _run,
        _add_arguments,
        module="services.evaluator.studies.chaining_cost",
        about=about,
        argv=argv,
        shared=("--dataset", "--models"),
    )


def _run(arguments: argparse.Namespace, config: EvaluatorConfig) -> int:
    data = dataset.load(arguments.dataset).first(IMAGES)
    noisy = Condition(HEADLINE_NOISE, HEADLINE_LEVEL).apply(data.images, config.seed)
    models, fused_home = arguments.models, arguments.fused
    newest = {name: _newest(models / name) for name in ("denoiser", "classifier")}
    fused_version = fused_home / str(_newest(fused_home))
    chain, fused = InProcessChain(models, **newest), OnnxModel(fused_version)
    files = [models / name / str(version) / "model.onnx" for name, version in newest.items()]
    pair_bytes, fused_bytes = sum(_size(path) for path in files), _size(fused_version / "model.onnx")
    progress = Progress()
    with ExitStack() as stack:
        denoiser, classifier = (stack.enter_context(model_server(name, models / name)) for name in newest)
        both = stack.enter_context(gateway(denoiser, classifier))
        alone = stack.enter_context(model_server("fused", fused_home))
        # The second gateway never asks its denoiser; it has one because it is only ready with both.
        one = stack.enter_context(gateway(denoiser, alone, classifier_model="fused"))
        expected = chain.classify(chain.denoise(noisy))
        gaps = {
            "two served models": difference(both.probabilities(noisy, "always"), expected),
            "one fused model": difference(one.probabilities(noisy, "never"), expected),
        }
        single, _, _, _, bulk = latency.cases(noisy, arguments.requests, chain)
        hop, last_hop = _wire(28 * 28, 28 * 28), _wire(28 * 28, 10)
        ways = [
            _served("two served models", both, "always", (single, bulk), hop + last_hop, pair_bytes),
            _served("one fused model, served", one, "never", (single, bulk), last_hop, fused_bytes),
            _in_process(
                "both models, in-process",
                lambda batch: chain.classify(chain.denoise(batch)),
                noisy,
                arguments.requests,
                pair_bytes,
            ),
            _in_process("fused model, in-process", fused, noisy, arguments.requests, fused_bytes),
        ]
        for way in ways:
            progress.say(f"{way.name}: p50 {way.p50_ms:.2f} ms, {way.images_per_s:,.0f} images/s")
    unequal = {name: asdict(gap) for name, gap in gaps.items() if not gap.equal}
    text = table(ways)
    found = {"versions": newest, "ways": [asdict(way) for way in ways], "unequal": unequal}
    report.write(arguments.report, {"cost.json": json.dumps(found, indent=1) + "\n", "cost.md": text + "\n"})
    print(text)
    for name, gap in unequal.items():
        print(f"DIFFERENT: {name} does not answer as the two models in-process do: {gap}")
    return 1 if unequal else 0


def table(ways: Sequence[Way]) -> str:
    """Markdown, each way against the first."""
    columns = (
        "p50, one image, ms",
        "p99, ms",
        f"images/s, {latency.BULK} a request",
        "bytes between services",
        "model files, KB",
    )
    lines = ["| way | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    for way in ways:
        lines.append(
            f"| {way.name} | {way.p50_ms:.2f} | {way.p99_ms:.2f} | {way.images_per_s:,.0f} | {way.wire_bytes:,} | "
            f"{way.model_bytes / 1000:,.0f} |"
        )
    return "\n".join(lines)


def _served(
    name: str, client: GatewayClient, denoise: str, cases: Sequence[latency.Case], wire_bytes: int, model_bytes: int
) -> Way:
    one, many = (latency.measure(replace(case, denoise=denoise), client, _ignore) for case in cases)
    if failures := one.errors + many.errors:
        raise ReportError(f"{name}: {failures} answers are missing or wrong; what failures cost is no cost")
    return Way(name, one.ms["p50"], one.ms["p99"], many.requests_per_s * many.images, wire_bytes, model_bytes)


def _in_process(name: str, read: Callable[[Images], np.ndarray], noisy: Images, requests: int, model_bytes: int) -> Way:
    singles = latency.percentiles(_timed(lambda at: read(noisy[at % len(noisy)][None]), requests))
    bulk = noisy[: latency.BULK]
    bulk_ms = _timed(lambda at: read(bulk), max(requests // 20, 20))
    return Way(name, singles["p50"], singles["p99"], 1e3 * len(bulk) / bulk_ms.mean(), 0, model_bytes)


def _timed(call: Callable[[int], object], times: int) -> np.ndarray:
    """Milliseconds of each call, after a few to warm up."""
    for at in range(10):
        call(at)
    ms = []
    for at in range(times):
        started = time.perf_counter()
        call(at)
        ms.append(1e3 * (time.perf_counter() - started))
    return np.array(ms)


def _wire(pixels_in: int, values_out: int) -> int:
    """Bytes of one image's gRPC messages, there and back."""
    request = pb.PredictRequest(model_spec=pb.ModelSpec(name="classifier", signature_name="serving_default"))
    request.inputs["images"].CopyFrom(to_proto(np.zeros((1, pixels_in), np.float32)))
    response = pb.PredictResponse(model_spec=request.model_spec)
    response.outputs["probabilities"].CopyFrom(to_proto(np.zeros((1, values_out), np.float32)))
    return request.ByteSize() + response.ByteSize()


def _newest(home: Path) -> int:
    if not (found := versions(home)):
        raise ReportError(f"there is no version in {home}; `make cost` exports the fused model before it measures")
    return found[-1]


def _size(path: Path) -> int:
    return path.stat().st_size


def _ignore(count: int) -> None:
    """No bar: every case takes seconds."""


def _add_arguments(parser: argparse.ArgumentParser, config: EvaluatorConfig) -> None:
    parser.add_argument("--fused", type=Path, default=Path("build/fused"), help="folder of the fused model's versions")
    parser.add_argument(
        "--requests", type=int, default=1000, help="single images each way reads; bulk requests: a twentieth"
    )
    parser.add_argument("--report", type=Path, default=Path("reports/cost"), help="folder for cost.json and cost.md")


if __name__ == "__main__":
    sys.exit(main())
