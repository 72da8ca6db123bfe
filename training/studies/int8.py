"""The pair in 8-bit integers: what it costs in accuracy and gains in time, in ONNX Runtime and in OpenVINO.

    python -m training.studies.int8        # the newest shipped pair, on a quiet machine; writes docs/results/int8.md

Static quantization, a scale for each channel of the weights: unsigned activations, signed weights, calibrated on noisy
training images. OpenVINO is measured where it is installed (`pip install openvino`); nothing else needs it.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantType, quant_pre_process, quantize_static

from services.core.metrics import accuracy
from services.core.model_digest import pair
from services.core.noise import Images
from training.data.batches import NoiseMix
from training.data.dataset import load_mnist, mnist_path, split
from training.errors import TrainingError
from training.export.versions import IMAGE_SHAPE, INPUT, newest_version, onnx_predictor
from training.measure.cost import median_seconds
from training.measure.measurements import Predict, noisy_test_images

MODELS = ("denoiser", "classifier")
CALIBRATED_ON = 1_000
BATCHES = (1, 64)
ROUNDS = 7  # engines and numbers in turn; the least disturbed one counts
LEVELS = (0.0, 0.5, 1.0)
SEED = 2026
WORTH = 1.3  # times as fast: below it int8 is not shipped


class _Calibration(CalibrationDataReader):
    """Pictures one at a time, as ONNX Runtime asks for them."""

    def __init__(self, images: Images) -> None:
        self._left = iter([{INPUT: image[np.newaxis]} for image in images])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


def quantized(graph: Path, images: Images, folder: Path) -> Path:
    """The graph in integers, calibrated on `images`, in a file of that folder."""
    prepared, result = folder / f"{graph.parent.parent.name}-prepared.onnx", folder / f"{graph.parent.parent.name}.onnx"
    quant_pre_process(str(graph), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(result),
        _Calibration(images),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return result


def in_openvino(path: Path) -> Predict:
    """The first output in OpenVINO, for latency on one thread."""
    openvino = import_module("openvino")
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(str(path), "CPU", settings).create_infer_request()
    return lambda images: request.infer([images], share_inputs=True)[0]


def main(argv: Sequence[str] | None = None) -> int:
    """Quantize, compare, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m training.studies.int8", description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=Path("models"), help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=Path("docs/results/int8.md"), help="default: %(default)s")
    parser.add_argument("--mnist", type=Path, help="mnist.npz (default: CLEARDIGITS_MNIST, Keras's cache, a download)")
    args = parser.parse_args(argv)
    logging.getLogger().setLevel(logging.ERROR)  # the quantizer advises at length
    try:
        data = split(load_mnist(mnist_path(args.mnist)), validation=5_000, seed=1)
        graphs = {name: newest_version(args.models / name) / "model.onnx" for name in MODELS}
    except TrainingError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_status
    rng = np.random.default_rng(SEED)
    noisy = NoiseMix().apply(data.train.images[:CALIBRATED_ON], rng)
    with tempfile.TemporaryDirectory() as folder:
        integers = {"denoiser": quantized(graphs["denoiser"], noisy, Path(folder))}
        cleaned = onnx_predictor(graphs["denoiser"])(noisy)
        integers["classifier"] = quantized(graphs["classifier"], cleaned, Path(folder))
        engines = {"ONNX Runtime": partial(onnx_predictor, threads=1)} | (
            {"OpenVINO": in_openvino} if find_spec("openvino") else {}
        )
        chains = {
            f"{engine}, {kind}": [load(paths[name]) for name in MODELS]
            for engine, load in engines.items()
            for kind, paths in (("float32", graphs), ("int8", integers))
        }
        read = {name: _accuracies(chain, data.test.images, data.test.labels) for name, chain in chains.items()}
        cost = _costs(chains)
    text = page(read, cost, args.models)
    print(text)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(text)
    return 0


def _accuracies(chain: Sequence[Predict], images: Images, labels: np.ndarray) -> list[float]:
    denoise, classify = chain
    found = []
    for level in LEVELS:
        noisy = noisy_test_images(images, "gaussian", level) if level else images
        parts = [classify(denoise(noisy[start : start + 500])).argmax(axis=1) for start in range(0, len(noisy), 500)]
        found.append(accuracy(labels, np.concatenate(parts)))
    return found


def _costs(chains: Mapping[str, Sequence[Predict]]) -> dict[str, list[float]]:
    """µs a picture of both models at each batch size."""
    found = {name: [float("inf")] * len(BATCHES) for name in chains}
    for _ in range(ROUNDS):
        for name, chain in chains.items():
            for place, count in enumerate(BATCHES):
                images = np.random.default_rng(0).random((count, *IMAGE_SHAPE), dtype=np.float32)
                us = sum(1e6 * median_seconds(partial(predict, images), seconds=0.2) / count for predict in chain)
                found[name][place] = min(found[name][place], us)
    return found


def page(read: Mapping[str, Sequence[float]], cost: Mapping[str, Sequence[float]], models: Path) -> str:
    """What was measured, and whether it is worth shipping."""
    headings = ["clean", *(f"Gaussian {level:g}" for level in LEVELS[1:])]
    lines = [
        "# The pair in 8-bit integers",
        "",
        f"`python -m training.studies.int8` wrote this page: {pair(models)}, 10,000 test images, one thread. Static "
        f"quantization with a scale for each channel, unsigned activations and signed weights, calibrated on "
        f"{CALIBRATED_ON:,} noisy training images.",
        "",
        f"| engine | {' | '.join(headings)} | µs, one image | µs an image, batch {BATCHES[1]} | times as fast |",
        f"| --- {'| ---: ' * (len(headings) + 3)}|",
    ]
    for name, accuracies in read.items():
        gain = [before / after for before, after in zip(cost[name.replace("int8", "float32")], cost[name], strict=True)]
        faster = " / ".join(f"{each:.2f}" for each in gain) if name.endswith("int8") else ""
        shown = " | ".join(f"{100 * each:.2f} %" for each in accuracies)
        lines.append(f"| {name} | {shown} | {cost[name][0]:.0f} | {cost[name][1]:.1f} | {faster} |")
    lines += [
        "",
        f"It would be shipped for {WORTH} times the speed in ONNX Runtime, at both sizes.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
