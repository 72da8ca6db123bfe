"""A denoiser and a classifier of a few nodes, as ONNX files in version folders, and digits that they can read."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
DIGITS: list[int | None] = [None, 28, 28, 1]
ANY_SIZE: list[int | None] = [None, None, None, 1]


def prototypes() -> np.ndarray:
    """Ten pictures, one for each digit: random, far apart, the same every time."""
    return (np.random.default_rng(7).random((10, 28, 28, 1)) > 0.8).astype(np.float32)


def digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 pictures (n, 28, 28) and their labels: the prototypes in a fixed random order."""
    labels = np.random.default_rng(8).integers(0, 10, count)
    return (255 * prototypes()[labels, ..., 0]).astype(np.uint8), labels


def write_tiny_models(folder: Path, *, version: int = 1, confuses: tuple[int, int] | None = None) -> Path:
    """`folder/denoiser/1/model.onnx` and `folder/classifier/1/model.onnx`; `confuses` names two digits it mixes up."""
    stretch = [
        helper.make_node("Sub", ["images", "offset"], ["shifted"]),
        helper.make_node("Mul", ["shifted", "gain"], ["stretched"]),
        helper.make_node("Clip", ["stretched", "low", "high"], ["denoised"]),
    ]
    constants = {"offset": 0.25, "gain": 2.0, "low": 0.0, "high": 1.0}
    _write(folder / "denoiser" / str(version), stretch, constants, "denoised", ANY_SIZE, ANY_SIZE)

    flat = prototypes().reshape(10, 784)
    if confuses is not None:
        flat[list(confuses)] = flat[list(reversed(confuses))]
    read = [
        helper.make_node("Reshape", ["images", "row"], ["rows"]),
        helper.make_node("MatMul", ["rows", "weights"], ["matches"]),
        helper.make_node("Sub", ["matches", "sizes"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
    ]
    weights = {
        "row": np.array([-1, 784], np.int64),
        "weights": (flat.T / 4).astype(np.float32),
        "sizes": (flat.sum(axis=1) / 8).astype(np.float32),
    }
    _write(folder / "classifier" / str(version), read, weights, "probabilities", [None, 10])
    return folder


def _write(
    folder: Path,
    nodes: list[NodeProto],
    constants: dict[str, Any],
    output: str,
    shape: list[int | None],
    takes: list[int | None] = DIGITS,
) -> None:
    graph = helper.make_graph(
        nodes,
        folder.parent.name,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, takes)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(np.asarray(value, None if hasattr(value, "dtype") else np.float32), name)
            for name, value in constants.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    folder.mkdir(parents=True)
    onnx.save(model, folder / "model.onnx")
