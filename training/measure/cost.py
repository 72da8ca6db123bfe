"""What a prediction costs in the model server's engine: one thread, one image, and a batch of 256.

python -m training.measure.cost --runs runs/reproduce        # on a quiet machine; writes cost.json beside the runs
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import keras
import numpy as np

from training.export.versions import IMAGE_SHAPE, onnx_predictor

BATCH = 256
SECONDS = 0.4  # of timing, per round
ROUNDS = 6  # the least disturbed one counts
WARMUP_CALLS = 10


def median_seconds(call: Callable[[], object], *, seconds: float = SECONDS) -> float:
    """The median duration of a call, over as many as fit into `seconds`."""
    for _ in range(WARMUP_CALLS):
        call()
    durations: list[float] = []
    end = time.perf_counter() + seconds
    while (started := time.perf_counter()) < end or not durations:
        call()
        durations.append(time.perf_counter() - started)
    return float(np.median(durations))


def graph_cost(path: Path, *, seconds: float = SECONDS, batch: int = BATCH, rounds: int = ROUNDS) -> dict[str, float]:
    """Microseconds per image of one ONNX file, one at a time and in batches."""
    predict = onnx_predictor(path, threads=1)
    rng = np.random.default_rng(0)
    cost = {}
    for name, count in (("single_us", 1), ("batch_us", batch)):
        images = rng.random((count, *IMAGE_SHAPE), dtype=np.float32)
        medians = [median_seconds(partial(predict, images), seconds=seconds) for _ in range(rounds)]
        cost[name] = 1e6 * min(medians) / count
    return cost


def flops(model: keras.Model) -> float:
    """Of one picture of 28x28: two for each weight wherever it is applied, in convolutions and dense layers."""
    sized = keras.models.clone_model(model, input_tensors=keras.Input(IMAGE_SHAPE))
    total = 0
    for layer in sized.layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.Conv2DTranspose, keras.layers.Dense)):
            spread = layer.input if isinstance(layer, keras.layers.Conv2DTranspose) else layer.output
            total += 2 * math.prod(layer.kernel.shape) * math.prod(spread.shape[1:-1])
    return float(total)


def chain_cost(
    graphs: Sequence[Path], *, seconds: float = SECONDS, batch: int = BATCH, rounds: int = ROUNDS
) -> dict[str, float]:
    """The sum over the graphs of a chain."""
    costs = [graph_cost(path, seconds=seconds, batch=batch, rounds=rounds) for path in graphs]
    return {name: sum(cost[name] for cost in costs) for name in costs[0]}


def pareto_front(points: Mapping[str, tuple[float, float]]) -> set[str]:
    """Names of the (cost, accuracy) points that no other point beats at both."""
    return {
        name
        for name, (cost, accuracy) in points.items()
        if not any(
            other_cost <= cost and other_accuracy >= accuracy and (other_cost, other_accuracy) != (cost, accuracy)
            for other_cost, other_accuracy in points.values()
        )
    }


def graphs_of(run: Path) -> list[Path]:
    """The ONNX files that a run left, in the order they are called."""
    return [path for name in ("denoiser", "classifier") if (path := run / f"{name}.onnx").exists()]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.measure.cost", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/reproduce"), help="default: %(default)s")
    args = parser.parse_args(argv)
    costs = {}
    for run in sorted(path.parent for path in args.runs.glob("*/results.json")):
        graphs = graphs_of(run)
        costs[run.name] = chain_cost(graphs)
        if len(graphs) == 2:
            costs[f"{run.name}, classifier alone"] = chain_cost(graphs[1:])
    (args.runs / "cost.json").write_text(json.dumps(costs, indent=2) + "\n")
    for name, cost in costs.items():
        print(f"{name:<42}{cost['single_us']:8.0f} µs{1e6 / cost['batch_us']:10.0f} images/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
