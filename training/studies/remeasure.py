"""Measure the newest pair again, on the whole test set, and write the figures into both model cards.

python -m training.studies.remeasure      # also rewrites the table of training/README.md; the models stay as they are

The README is about the repository's own models: those of another folder leave it alone, unless `--readme` names a file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from services.core.model_digest import CARD, SIGNATURE_FILE, file_digests
from training.command import count
from training.data.dataset import load_mnist, mnist_path, split
from training.errors import ExportError, TrainingError
from training.export.versions import newest_version, onnx_predictor
from training.measure.measurements import measure
from training.measure.targets import table
from training.release.card import results

ROOT = Path(__file__).resolve().parents[2]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.studies.remeasure", description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=Path("models"), help="default: %(default)s")
    parser.add_argument("--measured", type=count, help="test images (default: all of them)")
    parser.add_argument("--mnist", type=Path, help="mnist.npz (default: CLEARDIGITS_MNIST, Keras's cache, a download)")
    parser.add_argument(
        "--readme", type=Path, help="the file with the table (default: training/README.md, for our own)"
    )
    args = parser.parse_args(argv)
    try:
        test = split(load_mnist(mnist_path(args.mnist)), validation=1, seed=0).test[: args.measured]
        folders = [newest_version(args.models / name) for name in ("denoiser", "classifier")]
        cards = [_card(folder) for folder in folders]
    except TrainingError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_status
    denoiser, classifier = (folder / "model.onnx" for folder in folders)
    found = measure(
        onnx_predictor(denoiser, output="denoised"),
        onnx_predictor(classifier, output="probabilities"),
        test,
        judge=onnx_predictor(classifier, output="is_digit"),
    )
    measured = results(found)
    for folder, card in zip(folders, cards, strict=True):
        card["results"] = measured
        (folder / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        if (folder / SIGNATURE_FILE).exists():
            print(f"the card of {folder} has changed: sign it again", file=sys.stderr)
    print(table(measured))
    if readme := args.readme or readme_of(args.models):
        _rewrite(readme, measured)
    return 0


def readme_of(models: Path) -> Path | None:
    """The document with the figures of these models; None for models that are not the repository's own."""
    return ROOT / "training/README.md" if models.resolve() == ROOT / "models" else None


def _rewrite(readme: Path, measured: Mapping[str, Any]) -> None:
    """Put the table of targets in the place of the one that the document has."""
    text = readme.read_text(encoding="utf-8")
    start = text.index(table(measured).splitlines()[0])
    end = text.index("\n\n", start)
    readme.write_text(text[:start] + table(measured) + text[end:], encoding="utf-8")


def _card(folder: Path) -> dict[str, Any]:
    """The card, of files that are the ones it describes."""
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    if card["files_sha256"] != file_digests(folder):
        raise ExportError(f"the files of {folder} are not those of its card")
    return card


if __name__ == "__main__":
    sys.exit(main())
