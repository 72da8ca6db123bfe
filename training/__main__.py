"""Train a recipe, measure it, and publish the next version of both models if it is the one that ships.

python -m training                          # the default recipe: 45 minutes on two cores
python -m training --recipe cnn --epochs 2
python -m training --hold-out stripes       # how well is a noise kind read that was never seen?
"""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported; it logs much at start-up

from services.core.noise import NOISES
from training.command import count, ended, seed
from training.config import RECIPES, SIZES, TrainingConfig
from training.data.dataset import load_mnist, mnist_path, split
from training.data.extra import load_extra
from training.errors import GateError, TrainingError
from training.release.signing import Signer, add_passphrase_file
from training.tracking import Tracker

SHIPPED_RECIPE = "default"
DONE = "done"  # marks a run folder whose job has come to its end


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run; the exit status: 0, 1 failed, 2 no data, 3 refused by the gate, 130 Ctrl-C."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.extra and args.recipe != SHIPPED_RECIPE:
        parser.error("--extra is for the default recipe")
    if args.recipe not in SIZES and (args.teacher or args.start_from or args.hold_out):
        parser.error(f"--teacher, --start-from and --hold-out are for {', '.join(SIZES)}")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("tf2onnx").setLevel(logging.WARNING)
    config = TrainingConfig(
        recipe=args.recipe,
        seed=args.seed,
        epochs=args.epochs,
        start_from=args.start_from,
        models=args.models,
        extra=args.extra,
        teacher=args.teacher,
        batch_size=args.batch_size,
        validation=args.validation,
        hold_out=args.hold_out,
        trained=args.trained,
        measured=args.measured,
    )
    return ended(lambda: _run(config, args, argv))


def _run(config: TrainingConfig, args: argparse.Namespace, argv: Sequence[str] | None) -> int:
    data = split(load_mnist(mnist_path(args.mnist)), validation=config.validation, seed=config.seed)
    if config.trained:
        data = replace(data, train=data.train[: config.trained])
    if config.measured:
        data = replace(data, test=data.test[: config.measured])
    if config.extra:
        data = replace(data, extra=load_extra(Path(config.extra)))
    tracker = Tracker.open(args.mlflow) if args.mlflow else None
    signer = Signer.open(args.sign, args.key_passphrase_file) if args.sign else None
    try:
        from training import runs  # Keras, seconds: not for --help, a mistyped flag or missing data
    except (ImportError, ValueError) as exc:  # a backend that is not installed, or none of Keras's
        raise TrainingError(
            f"Keras does not start, KERAS_BACKEND={os.environ.get('KERAS_BACKEND', '')}: {exc}"
        ) from exc

    workdir = args.run_dir or _unfinished_run(config.recipe)
    outcome = runs.train(config, data, workdir)
    if args.fit_only:
        return 0
    if runs.backend() != "tensorflow":  # which alone exports: another process loads the weights and goes on
        command = [sys.executable, "-m", "training", *(sys.argv[1:] if argv is None else argv)]
        os.execve(sys.executable, command, os.environ | {"KERAS_BACKEND": "tensorflow"})
    from training import job

    measured = job.report(config, data, outcome, workdir)
    for name, value in outcome.figures.items():
        print(f"{name}: {value:.4f}")
    if measured:
        for name, accuracy in measured.headline.items():
            print(f"{name}: {100 * accuracy:.2f} %")
    print(f"everything else is in {workdir}/")
    versions: dict[str, Path] = {}
    if measured and config.recipe == SHIPPED_RECIPE and not config.hold_out and not args.no_publish:
        models = Path(args.models)
        try:
            published = job.publish(
                config, data, outcome, measured, models, force=args.force, note=args.note, signer=signer
            )
        except GateError as refusal:
            if tracker:
                tracker.record(workdir, refusal=str(refusal))
            raise
        versions = {name: models / name / str(number) for name, number in published.items()}
        print(f"published {', '.join(map(str, versions.values()))}")
    if tracker:
        tracker.record(workdir, versions)
    (workdir / DONE).touch()
    return 0


def _unfinished_run(recipe: str) -> Path:
    """`runs/<recipe>`, or `-2`, `-3`, ... when the runs before it came to their end: a new run, or one to resume."""
    names = itertools.chain([recipe], (f"{recipe}-{number}" for number in itertools.count(2)))
    return next(path for name in names if not ((path := Path("runs") / name) / DONE).exists())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training",
        allow_abbrev=False,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--recipe", choices=RECIPES, default="default", help="default: %(default)s")
    parser.add_argument("--epochs", type=count, help="default: what the recipe asks for")
    parser.add_argument(
        "--start-from",
        type=count,
        metavar="VERSION",
        help="a version in models/ whose weights the default recipe begins with (default: new weights)",
    )
    parser.add_argument(
        "--extra", metavar="FILE", help="corrections.npz: labelled pictures that the default recipe mixes in"
    )
    parser.add_argument(
        "--teacher",
        metavar="RUN",
        help="folder of a finished run, of large say, whose answers are learnt beside the labels",
    )
    parser.add_argument("--batch-size", type=count, default=128, help="larger on a GPU (default: %(default)s)")
    parser.add_argument("--seed", type=seed, default=1, help="of everything that is drawn (default: %(default)s)")
    parser.add_argument(
        "--validation",
        type=count,
        default=5_000,
        help="training images held back (default: %(default)s)",
    )
    parser.add_argument("--hold-out", choices=NOISES, help="a noise kind the default recipe must not see")
    parser.add_argument(
        "--trained", type=count, help="training images to learn from: for a quick try (default: all not held back)"
    )
    parser.add_argument(
        "--measured", type=count, help="test images to measure on: for a quick try (default: all of them)"
    )
    parser.add_argument("--mnist", type=Path, help="mnist.npz (default: CLEARDIGITS_MNIST, Keras's cache, a download)")
    parser.add_argument(
        "--run-dir", type=Path, help="state and results, resumed if it exists (default: a folder in runs/)"
    )
    parser.add_argument("--models", default="models", help="where versions go (default: %(default)s)")
    parser.add_argument(
        "--fit-only", action="store_true", help="stop after training; the same command without it goes on"
    )
    parser.add_argument(
        "--mlflow",
        metavar="URI",
        help="keep the run in MLflow too: sqlite:///runs/mlflow.db, or a server's address",
    )
    parser.add_argument("--sign", type=Path, metavar="KEY", help="sign what is published with this private key (PEM)")
    add_passphrase_file(parser)
    parser.add_argument("--note", help="a sentence for the model cards")
    parser.add_argument("--no-publish", action="store_true", help="measure only")
    parser.add_argument("--force", action="store_true", help="publish even a pair that the release gate refuses")
    return parser


if __name__ == "__main__":
    sys.exit(main())
