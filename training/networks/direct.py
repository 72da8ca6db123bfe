"""One network that reads noisy pictures: what the arithmetic of both models buys without a denoiser."""

from __future__ import annotations

import keras
from keras import layers

from training.networks.classifier import outputs
from training.networks.denoiser import convolution


def build_direct(stem_width: int, upper_width: int, middle_width: int, lower_width: int) -> keras.Model:
    """28x28 noisy picture -> `probabilities` and `is_digit`, as the classifier answers."""
    images = keras.Input((28, 28, 1), name="images")
    x = convolution(images, stem_width, size=4, stride=2)  # 14x14
    x = convolution(x, upper_width)
    x = convolution(x, middle_width, stride=2)  # 7x7
    x = layers.ReLU()(layers.Add()([x, convolution(x, middle_width, activated=False)]))
    x = convolution(x, lower_width, stride=2)  # 4x4
    return keras.Model(images, outputs(x), name="classifier")
