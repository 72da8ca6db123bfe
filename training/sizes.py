"""Train the pair in three sizes, each beside one network of its cost that has no denoiser: docs/results/sizes.md.

    python -m training.sizes --epochs 100 --batch-size 512      # on a GPU: KERAS_BACKEND=jax, ten minutes each

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

from services.core.model_digest import pair
from training import cost, plots
from training.measure import LEVELS
from training.pair import build

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
        prog="python -m training.sizes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", default="19", help="of every run (default: %(default)s)")
    parser.add_argument("--batch-size", default="128", help="default: %(default)s")
    parser.add_argument("--runs", type=Path, default=Path("runs/sizes"), help="default: %(default)s")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="default: %(default)s")
    parser.add_argument("--models", type=Path, default=Path("models"), help="default: %(default)s")
    args = parser.parse_args(argv)
    for name, (recipe, taught) in RUNS.items():
        if (args.runs / name / "results.json").exists():
            continue
        command = ["--recipe", recipe, "--epochs", args.epochs, "--batch-size", args.batch_size]
        command += ["--teacher", str(args.runs / TEACHER)] if taught else []
        command += ["--run-dir", str(args.runs / name), "--no-publish"]
        if status := subprocess.run([sys.executable, "-m", "training", *command], check=False).returncode:
            return status
    results = {name: json.loads((args.runs / name / "results.json").read_text()) for name in RUNS}
    print(write_page(results, costs(args.runs), args.docs, args.models))
    return 0


def costs(runs: Path) -> dict[str, dict[str, float]]:
    """What a picture costs in each: measured once, on a quiet machine, and kept beside the runs."""
    kept = runs / "cost.json"
    if not kept.exists():
        found = {}
        for name, (recipe, _) in RUNS.items():
            graphs = [path for model in ("denoiser", "classifier") if (path := runs / name / f"{model}.onnx").exists()]
            flops = sum(cost.flops(network) for network in build(recipe).networks)
            found[name] = cost.chain_cost(graphs, batch=BATCH) | {"mflop": flops / 1e6}
        kept.write_text(json.dumps(found, indent=2) + "\n")
    return json.loads(kept.read_text())


def write_page(results: Mapping[str, Any], costs: Mapping[str, Mapping[str, float]], docs: Path, models: Path) -> Path:
    """The table, the picture of the front, and what was typed."""
    points = {
        name: (costs[name]["single_us"], 100 * result["measured"]["chain"]["gaussian"]["0.5"])
        for name, result in results.items()
    }
    front = cost.pareto_front(points)
    plots.pareto(points, front, docs / PICTURE)
    path = docs / "results" / "sizes.md"
    path.write_text(
        "\n\n".join(
            [
                "# The pair in three sizes, and one network instead",
                "Written by `python -m training.sizes`. `small`, `default` and `large` are pairs: a denoiser, then a "
                "classifier. `direct-*` is the control: one network with the arithmetic of both reads the noisy "
                "picture. All are trained on the same pictures; `default`, `direct-taught`, `small` and "
                "`direct-small` also learn the answers of `large`, `default-alone` and `direct` do not.",
                "Accuracy on the 10,000 test images, % (Gaussian: mean of five draws); cost in ONNX Runtime on one "
                "thread.",
                table(results, costs, front),
                f"![Accuracy at Gaussian 0.5 over the cost of one image](../{PICTURE})",
                f"The shipped pair is {pair(models)}.",
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


def table(results: Mapping[str, Any], costs: Mapping[str, Mapping[str, float]], front: set[str]) -> str:
    """One line for each run, the cheapest first."""
    headings = ["clean", *(f"{level:g}" for level in LEVELS), "all kinds at 0.5", "moved 5 px", "letters, AUROC"]
    lines = [
        f"| run | MFLOP | µs, one image | images/s, batch {BATCH} | {' | '.join(headings)} | on the front |",
        f"| --- {'| ---: ' * (3 + len(headings))}| --- |",
    ]
    for name in sorted(results, key=lambda name: costs[name]["mflop"]):
        measured, cost_of = results[name]["measured"], costs[name]
        accuracies = [
            measured["clean"],
            *(measured["chain"]["gaussian"][str(level)] for level in LEVELS),
            measured["robust_mean"],
            measured["wide"]["moved"]["by 5 px"]["chain"],
        ]
        auroc = measured["wide"]["is_digit"]["0.5"]["letters"]["auroc"]
        cells = [
            name,
            f"{cost_of['mflop']:.1f}",
            f"{cost_of['single_us']:.0f}",
            f"{1e6 / cost_of['batch_us']:,.0f}",
            *(f"{100 * accuracy:.2f}" for accuracy in accuracies),
            f"{auroc:.4f}",
            "yes" if name in front else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
