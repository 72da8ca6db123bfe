"""The classifier: four convolutions, global average pooling, ten probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from training.denoiser import convolution


def build_classifier(widths: Sequence[int] = (16, 32, 64, 96)) -> keras.Model:
    """28x28 picture -> probabilities of the digits 0 to 9."""
    images = keras.Input((28, 28, 1), name="images")
    x = convolution(images, widths[0], stride=2)  # 14x14
    x = convolution(x, widths[1])
    x = convolution(x, widths[2], stride=2)  # 7x7
    x = convolution(x, widths[3])
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(10, name="logits")(x)
    return keras.Model(images, layers.Softmax(name="probabilities")(x), name="classifier")
