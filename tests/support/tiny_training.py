"""Models of a few weights, to exercise export, publishing and serving without the cost of the real networks.

Their signatures are those of the pair that ships: a denoiser of any size, a classifier with a second output.
"""

import keras

from training.export.versions import Exportable
from training.recipes import Outcome


def tiny_denoiser(seed: int = 0) -> Exportable:
    """Two convolutions and a batch norm."""
    keras.utils.set_random_seed(seed)
    images = keras.Input((None, None, 1), name="images")
    x = keras.layers.Conv2D(2, 3, padding="same", use_bias=False)(images)
    x = keras.layers.BatchNormalization()(x)
    return Exportable("denoiser", ("denoised",), keras.Model(images, keras.layers.Conv2D(1, 3, padding="same")(x)))


def tiny_classifier(seed: int = 0) -> Exportable:
    """Two linear layers."""
    keras.utils.set_random_seed(seed)
    images = keras.Input((28, 28, 1), name="images")
    pixels = keras.layers.Flatten()(images)
    outputs = {
        "probabilities": keras.layers.Dense(10, activation="softmax")(pixels),
        "is_digit": keras.layers.Reshape(())(keras.layers.Dense(1, activation="sigmoid")(pixels)),
    }
    return Exportable("classifier", ("probabilities", "is_digit"), keras.Model(images, outputs))


def tiny_outcome(seed: int = 0) -> Outcome:
    """What a recipe would answer."""
    return Outcome(
        {"loss": [1.0], "seconds": [1.0]},
        denoiser=tiny_denoiser(seed).model,
        classifier=tiny_classifier(seed).model,
    )
