"""Models of a few weights, to exercise export and publishing without the cost of the real networks."""

import keras

from training.export import Exportable
from training.recipes import Outcome


def tiny_denoiser(seed: int = 0) -> Exportable:
    """Two convolutions and a batch norm."""
    keras.utils.set_random_seed(seed)
    images = keras.Input((28, 28, 1), name="images")
    x = keras.layers.Conv2D(2, 3, padding="same", use_bias=False)(images)
    x = keras.layers.BatchNormalization()(x)
    return Exportable("denoiser", "denoised", keras.Model(images, keras.layers.Conv2D(1, 3, padding="same")(x)))


def tiny_outcome(seed: int = 0) -> Outcome:
    """What a recipe would answer: the tiny denoiser and a linear classifier."""
    denoiser = tiny_denoiser(seed).model
    images = keras.Input((28, 28, 1), name="images")
    scores = keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(images))
    classifier = keras.Model(images, scores)
    return Outcome({"loss": [1.0], "seconds": [1.0]}, denoiser=denoiser, classifier=classifier)
