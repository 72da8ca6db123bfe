"""Leave one noise kind out of training, then read it: how far does the chain carry over to noise it never saw?

python -m training.studies.held_out --epochs 3          # fifteen short runs; resumes, writes runs/held-out/table.md
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

from services.core.metrics import accuracy
from services.core.noise import NOISES
from training import runs
from training.command import count, ended, seed
from training.config import TrainingConfig
from training.data.dataset import Dataset, load_mnist, mnist_path, split
from training.measure.measurements import HEADLINE, noisy_test_images


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.studies.held_out", description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=count, default=3, help="of every run (default: %(default)s)")
    parser.add_argument("--kind", choices=NOISES, action="append", help="only these (default: each in turn)")
    parser.add_argument("--batch-size", type=count, default=128, help="larger on a GPU (default: %(default)s)")
    parser.add_argument("--seed", type=seed, default=1, help="default: %(default)s")
    parser.add_argument("--validation", type=count, default=5_000, help="images not trained on (default: %(default)s)")
    parser.add_argument("--mnist", type=Path, help="mnist.npz (default: CLEARDIGITS_MNIST, Keras's cache, a download)")
    parser.add_argument("--runs", type=Path, default=Path("runs/held-out"), help="default: %(default)s")
    args = parser.parse_args(argv)
    return ended(lambda: _compare(args))


def _compare(args: argparse.Namespace) -> int:
    config = TrainingConfig(epochs=args.epochs, seed=args.seed, validation=args.validation, batch_size=args.batch_size)
    data = split(load_mnist(mnist_path(args.mnist)), validation=config.validation, seed=config.seed)
    seen = read_after(config, data, args.runs / "none")
    unseen = {}
    for kind in args.kind or NOISES:
        unseen[kind] = read_after(replace(config, hold_out=kind), data, args.runs / kind)[kind]
    text = table(seen, unseen)
    (args.runs / "table.md").write_text(f"{conditions(config, data)}\n\n{text}\n")
    print(text)
    return 0


def read_after(config: TrainingConfig, data: Dataset, workdir: Path) -> dict[str, float]:
    """Train, and answer the chain's accuracy at level 0.5 per kind: all of them, or the one held out."""
    results = workdir / "accuracy.json"
    if not results.exists():
        keras.backend.clear_session()
        outcome = runs.train(config, data, workdir)
        denoiser, classifier = outcome.denoiser, outcome.classifier
        assert denoiser is not None and classifier is not None  # the recipe makes both
        kinds = [config.hold_out] if config.hold_out else list(NOISES)
        accuracies = {}
        for kind in kinds:
            noisy = noisy_test_images(data.test.images, kind, HEADLINE)
            denoised = denoiser.predict(noisy, batch_size=500, verbose=0)
            scores = classifier.predict(denoised, batch_size=500, verbose=0)["probabilities"]
            accuracies[kind] = accuracy(data.test.labels, scores.argmax(axis=1))
        results.write_text(json.dumps(accuracies, indent=2) + "\n")
    return json.loads(results.read_text())


def conditions(config: TrainingConfig, data: Dataset) -> str:
    """Short runs, said so."""
    return (
        f"Each line is a run of its own, {config.epochs} epochs of {len(data.train):,} images, seed {config.seed}: far "
        "shorter than the shipped one, so the difference is what counts. Level 0.5, 10,000 test images."
    )


def table(seen: Mapping[str, float], unseen: Mapping[str, float]) -> str:
    """Markdown: what seeing a kind in training is worth."""
    lines = ["| noise kind | seen in training | held out | difference |", "| --- | ---: | ---: | ---: |"]
    for kind, value in unseen.items():
        lines.append(f"| {kind} | {seen[kind]:.2%} | {value:.2%} | {100 * (value - seen[kind]):+.2f} |")
    mean_seen, mean_unseen = (sum(each[kind] for kind in unseen) / len(unseen) for each in (seen, unseen))
    lines.append(f"| mean | {mean_seen:.2%} | {mean_unseen:.2%} | {100 * (mean_unseen - mean_seen):+.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
