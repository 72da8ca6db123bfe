"""Both models as one: classifier after denoiser in a single graph, to weigh what the second call costs.

Never published beside the pair: the chain is served as two models so that each can be replaced alone.

    python -m training.studies.fused --output build/fused          # build/fused/1 from the newest shipped versions
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from training.errors import ExportError
from training.export.versions import (
    IMAGE_SHAPE,
    SIGNATURE,
    Exportable,
    check_version,
    new_version,
    newest_version,
    write_version,
)


def fuse(denoiser: Path, classifier: Path) -> Exportable:
    """One Keras model out of two SavedModel folders."""
    images = keras.Input(IMAGE_SHAPE, name="images")
    denoised = keras.layers.TFSMLayer(str(denoiser), call_endpoint=SIGNATURE)(images)["denoised"]
    scores = keras.layers.TFSMLayer(str(classifier), call_endpoint=SIGNATURE)(denoised)["probabilities"]
    return Exportable("fused", ("probabilities",), keras.Model(images, scores, name="fused"))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.studies.fused", description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=Path("models"), help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=Path("build/fused"), help="default: %(default)s")
    args = parser.parse_args(argv)
    try:
        newest = {name: newest_version(args.models / name) for name in ("denoiser", "classifier")}
        fused = fuse(**newest)
        with new_version(args.output) as (folder, number):
            made_of = {name: int(path.name) for name, path in newest.items()}
            write_version(fused, folder, {"name": "fused", "version": number, "made_of": made_of})
            check_version(fused, folder, np.random.default_rng(0).random((512, *IMAGE_SHAPE), dtype=np.float32))
    except ExportError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_status
    print(args.output / str(number))
    return 0


if __name__ == "__main__":
    sys.exit(main())
