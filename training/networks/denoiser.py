"""The denoiser: a small residual U-Net that does its thinking at a quarter and a sixteenth of the pixels.

A strided stem halves the picture at once, and one thin layer paints in full size: that is where the time goes on a CPU.
Two skip connections: the strokes' fine position goes around the middle, the noisy pixels themselves to the painter.
Fully convolutional: a digit of 28x28, or a line of digits whose sides are multiples of 4.
"""

from __future__ import annotations

import keras
from keras import layers


def build_denoiser(
    width: int = 24, middle_width: int = 40, middle_blocks: int = 2, upper_width: int = 16, painter_width: int = 12
) -> keras.Model:
    """Noisy -> denoised of the same size, both in [0, 1]."""
    noisy = keras.Input((None, None, 1), name="images")
    fine = convolution(noisy, width, size=4, stride=2)  # half the side
    x = convolution(fine, middle_width, stride=2)  # a quarter
    for _ in range(middle_blocks):
        x = layers.ReLU()(layers.Add()([x, convolution(x, middle_width, activated=False)]))
    x = layers.Conv2DTranspose(width, 2, strides=2)(x)
    x = convolution(layers.Add()([x, fine]), upper_width)
    x = layers.Conv2DTranspose(painter_width, 2, strides=2, activation="relu")(x)
    x = layers.Conv2D(1, 3, padding="same", name="painter")(layers.Concatenate()([x, noisy]))
    return keras.Model(noisy, layers.Activation("sigmoid", name="denoised")(x), name="denoiser")


def convolution(
    x: keras.KerasTensor, width: int, *, size: int = 3, stride: int = 1, activated: bool = True
) -> keras.KerasTensor:
    """Convolution, batch norm and, unless told otherwise, ReLU."""
    x = layers.Conv2D(width, size, strides=stride, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return layers.ReLU()(x) if activated else x
