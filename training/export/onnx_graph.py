"""Keras -> ONNX for the layers that our networks are made of: NCHW inside, batch norm folded into the convolutions.

tf2onnx serves every other model (versions.py). It leaves slices and pads around convolutions whose sides it does
not know, and ONNX Runtime takes 70 µs for the 13 -> 1 channel convolution of a 28x28 picture as Conv, 28 µs as
ConvTranspose with the kernel flipped: the same sum (measured on one core with AVX2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import onnx
from keras import layers
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "softmax": "Softmax"}


class Unsupported(Exception):
    """A layer that this module does not know."""


def to_graph(model: keras.Model, outputs: Mapping[str, keras.KerasTensor]) -> onnx.ModelProto:
    """A functional model of one input as ONNX; raises Unsupported for what it does not know."""
    graph = _Graph()
    images = model.inputs[0]
    graph.names[id(images)] = graph.node("Transpose", ["images"], perm=[0, 3, 1, 2])
    for layer in model.layers:
        if not isinstance(layer, layers.InputLayer):
            graph.add(layer)
    for name, tensor in outputs.items():
        source = graph.names[id(tensor)]
        if len(tensor.shape) == 4:
            graph.node("Transpose", [source], output=name, perm=[0, 2, 3, 1])
        else:
            graph.node("Identity", [source], output=name)
    made = helper.make_model(
        helper.make_graph(
            graph.finished(),
            model.name,
            [_value("images", images.shape)],
            [_value(name, tensor.shape) for name, tensor in outputs.items()],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(made)
    return made


def _value(name: str, shape: Sequence[int | None]) -> onnx.ValueInfoProto:
    labels = ("batch", "height", "width", "channels")
    sizes = [size if size is not None else label for size, label in zip(shape, labels, strict=False)]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)


class _Graph:
    """Nodes so far, and the name of each Keras tensor's counterpart."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.initializers: list[onnx.TensorProto] = []
        self._nodes: list[onnx.NodeProto] = []
        self._kernels: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # of a convolution, by its output
        self._count = 0

    def node(self, kind: str, inputs: Sequence[str], *, output: str | None = None, **attributes: Any) -> str:
        """Append a node; answers the name of its output."""
        self._count += 1
        output = output or f"{kind.lower()}_{self._count}"
        self._nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def add(self, layer: Any) -> None:
        """Append what a layer does."""
        layer_type = type(layer)
        for kind, adding in self._adders().items():
            if layer_type is kind:
                sources = layer.input if isinstance(layer.input, list) else [layer.input]
                self.names[id(layer.output)] = adding(layer, [self.names[id(source)] for source in sources])
                return
        raise Unsupported(f"{type(layer).__name__} {layer.name}")

    def finished(self) -> list[onnx.NodeProto]:
        """All nodes, the kernels of the convolutions written as initializers."""
        for output, (kernel, bias) in self._kernels.items():
            for part, array in (("kernel", kernel), ("bias", bias)):
                self._constant(f"{output}_{part}", array)
        return self._nodes

    def _adders(self) -> dict[type, Callable[[Any, list[str]], str]]:
        return {
            layers.Conv2D: self._conv,
            layers.Conv2DTranspose: self._conv_transpose,
            layers.BatchNormalization: self._batch_norm,
            layers.ReLU: lambda layer, sources: self.node("Relu", sources),
            layers.Activation: lambda layer, sources: self._activated(layer, sources[0]),
            layers.Add: lambda layer, sources: self.node("Add", sources),
            layers.Concatenate: lambda layer, sources: self.node("Concat", sources, axis=1),
            layers.GlobalAveragePooling2D: self._pool,
            layers.Flatten: self._flatten,
            layers.Dense: self._dense,
            layers.Softmax: lambda layer, sources: self.node("Softmax", sources, axis=1),
            layers.Reshape: self._reshape,
        }

    def _conv(self, layer: layers.Conv2D, sources: list[str]) -> str:
        kernel = np.asarray(layer.kernel).transpose(3, 2, 0, 1)
        bias = np.asarray(layer.bias) if layer.use_bias else np.zeros(len(kernel), np.float32)
        if len(kernel) == 1 and layer.strides == (1, 1) and layer.padding == "same":
            flipped = kernel[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
            half = [size // 2 for size in layer.kernel_size]
            return self._activated(layer, self._weighted("ConvTranspose", sources[0], flipped, bias, pads=half + half))
        pads = _pads(layer)
        return self._activated(
            layer, self._weighted("Conv", sources[0], kernel, bias, strides=layer.strides, pads=pads)
        )

    def _conv_transpose(self, layer: layers.Conv2DTranspose, sources: list[str]) -> str:
        if layer.kernel_size != layer.strides:
            raise Unsupported(f"{layer.name}: a transposed convolution whose kernel is not its stride")
        kernel = np.asarray(layer.kernel).transpose(3, 2, 0, 1)
        bias = np.asarray(layer.bias) if layer.use_bias else np.zeros(kernel.shape[1], np.float32)
        made = self._weighted("ConvTranspose", sources[0], kernel, bias, strides=layer.strides)
        return self._activated(layer, made)

    def _weighted(self, kind: str, source: str, kernel: np.ndarray, bias: np.ndarray, **attributes: Any) -> str:
        output = f"{kind.lower()}_{self._count + 1}"
        self._kernels[output] = np.ascontiguousarray(kernel), bias
        return self.node(kind, [source, f"{output}_kernel", f"{output}_bias"], output=output, **attributes)

    def _batch_norm(self, layer: layers.BatchNormalization, sources: list[str]) -> str:
        if sources[0] not in self._kernels:
            raise Unsupported(f"{layer.name}: a batch norm that follows no convolution")
        kernel, bias = self._kernels[sources[0]]
        gain = np.asarray(layer.gamma) / np.sqrt(np.asarray(layer.moving_variance) + layer.epsilon)
        bias = (bias - np.asarray(layer.moving_mean)) * gain + np.asarray(layer.beta)
        self._kernels[sources[0]] = kernel * gain[:, None, None, None], bias
        return sources[0]

    def _pool(self, layer: layers.GlobalAveragePooling2D, sources: list[str]) -> str:
        return self.node("Flatten", [self.node("GlobalAveragePool", sources)])

    def _flatten(self, layer: layers.Flatten, sources: list[str]) -> str:
        if len(layer.input.shape) == 4:  # in the order that the dense layer after it was trained on
            sources = [self.node("Transpose", sources, perm=[0, 2, 3, 1])]
        return self.node("Flatten", sources)

    def _dense(self, layer: layers.Dense, sources: list[str]) -> str:
        output = f"gemm_{self._count + 1}"
        self._constant(f"{output}_kernel", np.asarray(layer.kernel))
        self._constant(f"{output}_bias", np.asarray(layer.bias))
        self.node("Gemm", [*sources, f"{output}_kernel", f"{output}_bias"], output=output)
        return self._activated(layer, output)

    def _reshape(self, layer: layers.Reshape, sources: list[str]) -> str:
        if layer.target_shape != ():
            raise Unsupported(f"{layer.name}: a reshape to {layer.target_shape}")
        shape = f"shape_{self._count + 1}"
        self._constant(shape, np.array([-1], np.int64))
        return self.node("Reshape", [*sources, shape])

    def _activated(self, layer: Any, source: str) -> str:
        name = layer.activation.__name__
        if name == "linear":
            return source
        if name not in ACTIVATIONS:
            raise Unsupported(f"{layer.name}: activation {name}")
        return self.node(ACTIVATIONS[name], [source])

    def _constant(self, name: str, array: np.ndarray) -> None:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))


def _pads(layer: layers.Conv2D) -> list[int]:
    """TensorFlow's "same": so many pixels that every input is seen, the odd one at the end; open sides are even."""
    if layer.padding == "valid":
        return [0, 0, 0, 0]
    before, after = [], []
    for side, size, stride in zip(layer.input.shape[1:3], layer.kernel_size, layer.strides, strict=True):
        rest = (side % stride if side is not None else 0) or stride
        missing = max(size - rest, 0)
        before.append(missing // 2)
        after.append(missing - missing // 2)
    return before + after
