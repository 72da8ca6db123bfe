"""The classifier: four convolutions, ten probabilities, and one more: that the picture shows exactly one digit."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from training.networks.denoiser import convolution


def build_classifier(widths: Sequence[int] = (16, 40, 40, 72), judge_width: int = 16) -> keras.Model:
    """28x28 picture -> `probabilities` of the digits 0 to 9, and `is_digit`."""
    images = keras.Input((28, 28, 1), name="images")
    x = convolution(images, widths[0], size=4, stride=2)  # 14x14
    x = convolution(x, widths[1], stride=2)  # 7x7
    x = convolution(x, widths[2])
    x = convolution(x, widths[3], stride=2)  # 4x4
    return keras.Model(images, outputs(x, judge_width), name="classifier")


def outputs(x: keras.KerasTensor, judge_width: int = 16) -> dict[str, keras.KerasTensor]:
    """What is read off the last feature maps."""
    digit = layers.Dense(10, name="logits")(layers.GlobalAveragePooling2D()(x))
    # Whether there is a second digit beside the first depends on where things are.
    judged = layers.Dense(judge_width, activation="relu", name="judge")(layers.Flatten()(x))
    judged = layers.Dense(1, activation="sigmoid", name="judgement")(judged)
    return {
        "probabilities": layers.Softmax(name="probabilities")(digit),
        "is_digit": layers.Reshape((), name="is_digit")(judged),
    }
