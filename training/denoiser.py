"""The denoiser: a small residual U-Net that does its thinking at a quarter and a sixteenth of the pixels.

A strided stem halves the picture at once, and one thin layer paints at 28x28: that is where the time goes on a CPU.
Two skip connections: the strokes' fine position goes around the 7x7 middle, the noisy pixels themselves to the painter.
"""

from __future__ import annotations

import keras
from keras import layers


def build_denoiser(
    width: int = 32, middle_width: int = 64, middle_blocks: int = 2, painter_width: int = 16
) -> keras.Model:
    """28x28 noisy -> 28x28 denoised, both in [0, 1]."""
    noisy = keras.Input((28, 28, 1), name="images")
    fine = convolution(convolution(noisy, width, size=4, stride=2), width)  # 14x14
    x = convolution(fine, middle_width, stride=2)  # 7x7
    for _ in range(middle_blocks):
        x = layers.ReLU()(layers.Add()([x, convolution(x, middle_width, activated=False)]))
    x = layers.Conv2DTranspose(width, 2, strides=2)(x)  # back to 14x14
    x = convolution(layers.Add()([x, fine]), width)
    x = layers.Conv2DTranspose(painter_width, 2, strides=2, activation="relu")(x)  # back to 28x28
    x = layers.Conv2D(1, 3, padding="same")(layers.Concatenate()([x, noisy]))
    return keras.Model(noisy, layers.Activation("sigmoid", name="denoised")(x), name="denoiser")


def convolution(
    x: keras.KerasTensor, width: int, *, size: int = 3, stride: int = 1, activated: bool = True
) -> keras.KerasTensor:
    """Convolution, batch norm and, unless told otherwise, ReLU."""
    x = layers.Conv2D(width, size, strides=stride, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return layers.ReLU()(x) if activated else x
