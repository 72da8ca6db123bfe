"""How are pictures read that are not in MNIST's frame? Photographs, and noisy digits whose pixels are enlarged.

    make bench-pictures ARGS="--count 1000"

Decoded and treated as the gateway does it, denoised, classified, all in this process; digits are MNIST's test digits,
drawn ones and printed ones in fonts that training has never seen (tests/support/photographs.py).
"""

import argparse
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from services.core.model_digest import newest, pair
from services.core.noise import gaussian
from services.core.preprocessing import to_digit
from services.evaluator.data import dataset, mnist
from services.evaluator.in_process import OnnxModel
from tests.support.photographs import drawn, photographed, printed, written

ROOT = Path(__file__).parents[2]
SEED = 20260101
LEVEL = 0.5  # of Gaussian noise on the enlarged digits
PIXEL_BY_PIXEL, SMOOTHLY = Image.Resampling.NEAREST, Image.Resampling.BICUBIC
SIDES_PX = {56: PIXEL_BY_PIXEL, 140: PIXEL_BY_PIXEL, 280: PIXEL_BY_PIXEL, 100: SMOOTHLY, 200: SMOOTHLY}
PHOTOGRAPHS, ENLARGED = 99.0, 97.0  # targets, % read right

Row = tuple[str, float, float, float]  # name, read right without and with the denoiser, target


def main(argv: list[str] | None = None) -> int:
    """Measure every set, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="pictures of each set (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/benchmarks/pictures.md")
    options = parser.parse_args(argv)
    denoise, classify = (
        OnnxModel(ROOT / "models" / name / str(newest(ROOT / "models" / name))) for name in ("denoiser", "classifier")
    )
    rows: list[Row] = []
    for name, target, pictures, labels in sets(options.count):
        digits = np.stack([to_digit(picture) for picture in pictures])
        read = [100 * float(np.mean(classify(each).argmax(axis=1) == labels)) for each in (digits, denoise(digits))]
        rows.append((name, *read, target))
        print(f"{name}: {read[0]:.2f} % alone, {read[1]:.2f} % denoised", flush=True)
    options.output.write_text(page(rows, options.count))
    return 0


def sets(count: int) -> Iterator[tuple[str, float, list[np.ndarray], np.ndarray]]:
    """Name, target, decoded pictures and labels."""
    test = dataset.load(mnist.find()).first(count)
    images, labels = test.images, test.labels
    sources: dict[str, tuple[Callable[[int, np.random.Generator], np.ndarray], np.ndarray]] = {
        "photographs of handwritten digits": (lambda index, rng: written(images[index, ..., 0], rng), labels),
        "photographs of drawn digits": (lambda index, rng: drawn(index % 10, rng), np.arange(count) % 10),
        "photographs of printed digits": (lambda index, rng: printed(index % 10, rng), np.arange(count) % 10),
    }
    for name, (ink, shown) in sources.items():
        rng = np.random.default_rng(SEED)
        pictures = [_decoded(photographed(ink(index, rng), rng)) for index in range(count)]
        yield name, PHOTOGRAPHS, pictures, shown
    noisy = np.rint(255 * gaussian(images, LEVEL, np.random.default_rng(SEED))[..., 0]).astype(np.uint8)
    for side, way in SIDES_PX.items():
        for polarity in ("white on black", "black on white"):
            shown = noisy if polarity == "white on black" else 255 - noisy
            enlarged = [np.asarray(Image.fromarray(each).resize((side, side), way)) for each in shown]
            smoothly = "smoothly " if way == SMOOTHLY else ""
            yield f"noisy ({LEVEL:g}), {smoothly}enlarged to {side} x {side} px, {polarity}", ENLARGED, enlarged, labels


def page(rows: list[Row], count: int) -> str:
    """The table in Markdown."""
    lines = [
        "# Pictures outside MNIST's frame",
        "",
        f'`make bench-pictures ARGS="--count {count}"` wrote this page on {date.today()}: {pair(ROOT / "models")}. '
        f"{count:,} pictures of each set, treated as the gateway treats them; digits are MNIST's test digits, drawn "
        "ones, and printed ones in fonts that training has never seen "
        "([tests/support/photographs.py](../../tests/support/photographs.py)).",
        "",
        "| pictures | read right, classifier alone | denoised first | target |  |",
        "| --- | ---: | ---: | ---: | --- |",
        *(
            f"| {name} | {alone:.2f} % | {denoised:.2f} % | ≥ {target:g} % | "
            f"{'met' if denoised >= target else '**missed**'} |"
            for name, alone, denoised, target in rows
        ),
    ]
    return "\n".join(lines) + "\n"


def _decoded(data: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    return picture


if __name__ == "__main__":
    raise SystemExit(main())
