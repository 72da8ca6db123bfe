"""Run every recipe with its fixed seed and write docs/reproduction.md: published beside ours.

    python -m training.studies.reproduce      # skips what is already in runs/reproduce, resumes what was interrupted

Each recipe runs in a process of its own, so that none inherits another's random state or memory.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from services.core.model_digest import CARD, newest, pair
from training.command import ended
from training.config import TUTORIALS
from training.measure import cost, plots
from training.recipes import find

RECIPES = (*TUTORIALS, "default")
KEPT_PLOTS = {
    "dense-autoencoder": ("pictures", "curves"),
    "mlp": ("curves",),
    "fully-connected": ("confusion", "mistakes"),
    "cnn": ("curves",),
    "denoise-then-classify": ("pictures", "noise"),
    "default": ("pictures", "curves", "noise", "confusion", "calibration", "mistakes"),
}
CAPTIONS = {
    "pictures": "Gaussian 0.5: noisy, denoised, clean",
    "curves": "Loss and accuracy per epoch",
    "noise": "Accuracy per noise kind over the level",
    "confusion": "Confusion on the test set with Gaussian 0.5",
    "mistakes": "The surest mistakes at Gaussian 0.5: clean above, then what was read",
    "calibration": "Accuracy against confidence",
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.studies.reproduce", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/reproduce"), help="default: %(default)s")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="default: %(default)s")
    parser.add_argument("--models", type=Path, default=Path("models"), help="default: %(default)s")
    parser.add_argument("--recipe", choices=RECIPES, action="append", help="only these, and no document")
    args = parser.parse_args(argv)
    return ended(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    for name in args.recipe or RECIPES:
        if not (args.runs / name / "results.json").exists():
            command = ["-m", "training", "--recipe", name, "--run-dir", str(args.runs / name), "--no-publish"]
            if status := subprocess.run([sys.executable, *command], check=False).returncode:
                return status
    if args.recipe:
        return 0
    if not (args.runs / "cost.json").exists():
        cost.main(["--runs", str(args.runs)])
    path = write_document(args.runs, args.docs, args.models)
    print(path)
    return 0


def write_document(runs: Path, docs: Path, models: Path) -> Path:
    """Render the results of all runs that are there, with their plots copied beside the page."""
    found = [name for name in RECIPES if (runs / name / "results.json").exists()]
    results = {name: json.loads((runs / name / "results.json").read_text()) for name in found}
    costs = json.loads((runs / "cost.json").read_text())
    pictures = docs / "img" / "reproduction"
    pictures.mkdir(parents=True, exist_ok=True)
    for name in found:
        for plot in KEPT_PLOTS[name]:
            shutil.copyfile(runs / name / f"{plot}.webp", pictures / f"{name}-{plot}.webp")
    points = pareto_points(results, costs)
    front = cost.pareto_front(points)
    plots.pareto(points, front, pictures / "pareto.webp")

    path = docs / "reproduction.md"
    path.write_text(
        "\n\n".join(
            [
                "# Published results, reproduced",
                "Written by `make reproduce`. Every recipe is one file in `training/recipes/`, or one line in "
                "`training/recipes/pair.py`, that says where its figures come from; the weights are those of the epoch "
                "with the lowest validation loss, and the test set is only reported on. Minutes are wall time spent in "
                "epochs on the machine of that run; training/README.md says which the shipped pair had.",
                _published_table(results),
                *_shipped(results, models),
                "## Accuracy against cost",
                "Accuracy of the whole chain on the 10,000 test images; cost of all its models in ONNX Runtime on one "
                "thread, the median call of the least disturbed of several rounds. A recipe without a classifier has "
                "no accuracy. On the front: nothing here is both cheaper and better at Gaussian 0.5.",
                _cost_table(results, costs, front),
                _picture("pareto", "Accuracy at Gaussian 0.5 over the cost of one image"),
                *_held_out(runs.parent / "held-out" / "table.md"),
                *(_section(name, results[name]) for name in found),
            ]
        )
        + "\n"
    )
    return path


def _shipped(results: Mapping[str, Any], models: Path) -> list[str]:
    """Which files the figures of the default recipe belong to, where its run is the one that is shipped."""
    measured = results["default"]["measured"]
    card = json.loads((models / "denoiser" / str(newest(models / "denoiser")) / CARD).read_text())["results"]
    figures = [
        (card["clean"], measured["clean"]),
        (card["clean_alone"], measured["clean_alone"]),
        *((card["chain"]["gaussian"][level], value) for level, value in measured["chain"]["gaussian"].items()),
    ]
    if any(on_card != round(found, 5) for on_card, found in figures):
        return []
    return [f"The default recipe's run is the shipped pair: {pair(models)}."]


def pareto_points(results: Mapping[str, Any], costs: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Name -> (µs per single image, % right at Gaussian 0.5), for everything that classifies."""
    points = {}
    for name, cost_of in costs.items():
        recipe, _, alone = name.partition(", ")
        if measured := results[recipe]["measured"]:
            accuracy = measured["alone" if alone else "chain"]["gaussian"]["0.5"]
            points[name] = (cost_of["single_us"], 100 * accuracy)
    return points


def _published_table(results: Mapping[str, Any]) -> str:
    lines = [
        "| recipe | published | ours | seed | epochs | minutes | command |",
        "| --- | --- | --- | ---: | ---: | ---: | --- |",
    ]
    for name, result in results.items():
        ours = "; ".join(f"{figure} {_figure(figure, value)}" for figure, value in result["figures"].items())
        if not ours:
            measured = result["measured"]
            ours = f"clean {measured['clean']:.2%}, Gaussian 0.5 {measured['chain']['gaussian']['0.5']:.2%}"
        lines.append(
            f"| {name} | {find(name).PUBLISHED} | {ours} | {result['seed']} | {result['epochs']} "
            f"| {result['minutes']:.1f} | `{result['command']}` |"
        )
    return "\n".join(lines)


def _cost_table(results: Mapping[str, Any], costs: Mapping[str, Any], front: set[str]) -> str:
    lines = [
        "| recipe | clean | Gaussian 0.5 | all kinds at 0.5 | µs, one image | images/s, batch 256 | on the front |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for name, cost_of in sorted(costs.items(), key=lambda item: item[1]["single_us"]):
        recipe, _, alone = name.partition(", ")
        accuracies = "– | – | –"
        if measured := results[recipe]["measured"]:
            clean, kinds = (
                (measured["clean_alone"], measured["alone"]) if alone else (measured["clean"], measured["chain"])
            )
            mean = sum(levels["0.5"] for levels in kinds.values()) / len(kinds)
            accuracies = f"{clean:.2%} | {kinds['gaussian']['0.5']:.2%} | {mean:.2%}"
        lines.append(
            f"| {name} | {accuracies} | {cost_of['single_us']:.0f} | {1e6 / cost_of['batch_us']:,.0f} "
            f"| {'yes' if name in front else ''} |"
        )
    return "\n".join(lines)


def _held_out(path: Path) -> list[str]:
    """What `make held-out` found, if it has been run."""
    return ["## Noise never seen in training", path.read_text().strip()] if path.exists() else []


def _section(name: str, result: Mapping[str, Any]) -> str:
    summary = (find(name).__doc__ or "").strip()
    pictures = (_picture(f"{name}-{plot}", CAPTIONS[plot]) for plot in KEPT_PLOTS[name])
    parameters = ", ".join(f"{model} {count:,}" for model, count in result["parameters"].items())
    return "\n\n".join([f"## {name}", summary, f"Parameters: {parameters}.", *pictures])


def _picture(name: str, caption: str) -> str:
    return f"![{caption}](img/reproduction/{name}.webp)\n\n{caption}."


def _figure(name: str, value: float) -> str:
    if "dB" in name or "SSIM" in name or "loss" in name:
        return f"{value:.4f}" if "loss" in name else f"{value:.2f}"
    return f"{100 * value:.2f} points" if "gain" in name else f"{value:.2%}"


if __name__ == "__main__":
    sys.exit(main())
