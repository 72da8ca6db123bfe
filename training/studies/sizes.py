"""Train the pair in three sizes, each beside one network of its cost that has no denoiser: docs/results/sizes.md.

    python -m training.studies.sizes --epochs 100 --batch-size 512      # on a GPU: KERAS_BACKEND=jax, ten minutes each

Skips what is already in runs/sizes. The largest pair is trained first and teaches the smaller networks.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from services.core.metrics import accuracy
from services.core.model_digest import pair
from services.core.noise import NOISES, Images
from training import runs
from training.command import ended
from training.config import TrainingConfig
from training.data.dataset import load_mnist, mnist_path, split
from training.export.versions import onnx_predictors, to_onnx
from training.job import exportables, minutes
from training.measure import cost, plots
from training.measure.measurements import HEADLINE, LEVELS, Predict, measure_headline, noisy_test_images
from training.measure.wide import MOVES_PX, judged, moved_sets
from training.recipes.pair import build

TEACHER = "large"
RUNS: Mapping[str, tuple[str, bool]] = {  # name -> recipe, and whether it has a teacher
    TEACHER: ("large", False),
    "direct-large": ("direct-large", False),
    "default-alone": ("default", False),
    "direct": ("direct", False),
    "default": ("default", True),
    "direct-taught": ("direct", True),
    "small": ("small", True),
    "direct-small": ("direct-small", True),
}
BATCH = 64
PICTURE = "img/sizes.webp"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.studies.sizes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--epochs", default="19", help="of every run (default: %(default)s)")
    parser.add_argument("--batch-size", default="128", help="default: %(default)s")
    parser.add_argument("--runs", type=Path, default=Path("runs/sizes"), help="default: %(default)s")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="default: %(default)s")
    parser.add_argument("--models", type=Path, default=Path("models"), help="default: %(default)s")
    args = parser.parse_args(argv)
    return ended(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    for name, (recipe, taught) in RUNS.items():
        if (args.runs / name / "final.weights.h5").exists():
            continue
        command = ["--recipe", recipe, "--epochs", args.epochs, "--batch-size", args.batch_size]
        command += ["--teacher", str(args.runs / TEACHER)] if taught else []
        command += ["--run-dir", str(args.runs / name), "--fit-only"]
        if status := subprocess.run([sys.executable, "-m", "training", *command], check=False).returncode:
            return status
    results = {name: measured(args.runs / name) for name in RUNS}
    costs = measured_costs(args.runs)
    results = {name: result | {"cost": costs[name]} for name, result in results.items()}
    print(write_page(results, args.docs, args.models))
    return 0


def measured(run: Path) -> dict[str, Any]:
    """How well a run reads, its command and its time: measured once and kept in its folder."""
    kept = run / "size.json"
    if not kept.exists():
        kept.write_text(json.dumps(_measure(run), indent=2) + "\n")
    return json.loads(kept.read_text())


def measured_costs(folder: Path) -> dict[str, dict[str, float]]:
    """What a picture costs in each: in turn, so that a slow minute of the machine falls on all; kept."""
    kept = folder / "cost.json"
    if not kept.exists():
        found: dict[str, dict[str, float]] = {}
        for _ in range(cost.ROUNDS):
            for name in RUNS:
                once = cost.chain_cost(cost.graphs_of(folder / name), batch=BATCH, rounds=1)
                found[name] = {of: min(us, found.get(name, once)[of]) for of, us in once.items()}
        for name, (recipe, _) in RUNS.items():
            found[name]["mflop"] = sum(cost.flops(network) for network in build(recipe).networks) / 1e6
        kept.write_text(json.dumps(found, indent=2) + "\n")
    return json.loads(kept.read_text())


def _measure(run: Path) -> dict[str, Any]:
    config = TrainingConfig(**json.loads((run / "config.json").read_text()))
    data = split(load_mnist(mnist_path(None)), validation=config.validation, seed=config.seed)
    outcome = runs.train(config, data, run)  # finished: loads and calibrates
    predictors: dict[str, Predict] = {"denoised": lambda noisy: noisy}  # of a control, which has no denoiser
    for exportable in exportables(outcome):
        graph = to_onnx(exportable)
        (run / f"{exportable.name}.onnx").write_bytes(graph)
        predictors |= onnx_predictors(graph)
    denoise, classify, judge = (predictors[name] for name in ("denoised", "probabilities", "is_digit"))

    def read(images: Images) -> float:
        return accuracy(data.test.labels, classify(denoise(images)).argmax(axis=1))

    kinds = [read(noisy_test_images(data.test.images, kind, HEADLINE)) for kind in NOISES]
    return {
        "command": config.command(),
        "minutes": minutes(outcome),
        "accuracy": {
            **measure_headline(denoise, classify, data.test),
            "all kinds": sum(kinds) / len(kinds),
            "moved": read(dict(moved_sets(data.test))[f"by {MOVES_PX[-1]} px"]),
        },
        "letters": judged(denoise, judge, data.test, HEADLINE, only="letters")["letters"]["auroc"],
    }


def write_page(results: Mapping[str, Any], docs: Path, models: Path) -> Path:
    """The table, the picture of the front, and what was typed."""
    points = {
        name: (result["cost"]["single_us"], 100 * result["accuracy"][f"gaussian {HEADLINE}"])
        for name, result in results.items()
    }
    front = cost.pareto_front(points)
    plots.pareto(points, front, docs / PICTURE)
    path = docs / "results" / "sizes.md"
    path.write_text(
        "\n\n".join(
            [
                "# The pair in three sizes, and one network instead",
                "Written by `python -m training.studies.sizes`. `small`, `default` and `large` are pairs: a denoiser, "
                "then a classifier. `direct-*` is the control: one network with the arithmetic of both reads the noisy "
                "picture. All are trained on the same pictures; `default`, `direct-taught`, `small` and "
                "`direct-small` also learn the answers of `large`, the others do not.",
                "Accuracy on the 10,000 test images, % (Gaussian: mean of five draws); cost in ONNX Runtime on one "
                "thread, the runs in turn (`default-alone` and `default` are the same networks: so much is noise).",
                table(results, front),
                f"![Accuracy at Gaussian 0.5 over the cost of one image](../{PICTURE})",
                f"When this was measured, the shipped pair was {pair(models)}.",
                "## What was typed",
                "\n".join(
                    f"- {name}: `{result['command']}`, {result['minutes']:.1f} minutes of epochs"
                    for name, result in results.items()
                ),
            ]
        )
        + "\n"
    )
    return path


def table(results: Mapping[str, Any], front: set[str]) -> str:
    """One line for each run, the cheapest first."""
    headings = ["clean", *(f"{level:g}" for level in LEVELS), "all kinds at 0.5", "clean, moved 5 px", "letters, AUROC"]
    lines = [
        f"| run | MFLOP | µs, one image | images/s, batch {BATCH} | {' | '.join(headings)} | on the front |",
        f"| --- {'| ---: ' * (3 + len(headings))}| --- |",
    ]
    for name, result in sorted(results.items(), key=lambda item: item[1]["cost"]["mflop"]):
        cost_of = result["cost"]
        cells = [
            name,
            f"{cost_of['mflop']:.1f}",
            f"{cost_of['single_us']:.0f}",
            f"{1e6 / cost_of['batch_us']:,.0f}",
            *(f"{100 * accuracy:.2f}" for accuracy in result["accuracy"].values()),
            f"{result['letters']:.4f}",
            "yes" if name in front else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
