"""Denoiser and classifier in one Keras model, trained end to end and served apart.

The denoiser learns to keep what the classifier needs, the classifier to read what the denoiser leaves. So that each is
of use alone, the denoiser also answers for the distance to the clean picture, and the classifier also reads pictures
that no denoiser has touched: a quarter of the batch noisy, a quarter clean.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from training.likeness import structural_similarity


class Chain(keras.Model):
    """`{"noisy", "clean"} -> {"denoised", "probabilities"}`, the classifier reading what the denoiser made."""

    def __init__(
        self,
        denoiser: keras.Model,
        classifier: keras.Model,
        *,
        reconstruction_weight: float = 12.0,
        likeness_weight: float = 0.3,
    ) -> None:
        super().__init__()
        self.denoiser, self.classifier = denoiser, classifier
        self.reconstruction_weight, self.likeness_weight = reconstruction_weight, likeness_weight
        self.accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        self.squared_error = keras.metrics.MeanSquaredError(name="squared_error")

    def call(self, images: dict[str, Any], training: bool = False) -> dict[str, Any]:
        noisy, clean = images["noisy"], images["clean"]
        denoised = self.denoiser(noisy, training=training)
        if not training:
            return {"denoised": denoised, "probabilities": self.classifier(denoised, training=False)}
        # One pass over all three, so that batch norm learns one set of statistics that fits them together.
        quarter = ops.shape(noisy)[0] // 4
        raw = ops.concatenate([noisy[:quarter], clean[quarter : 2 * quarter]])
        return {"denoised": denoised, "probabilities": self.classifier(ops.concatenate([denoised, raw]), training=True)}

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        labels = y
        if training:
            labels = ops.concatenate([y, y[: 2 * (ops.shape(y)[0] // 4)]])
        reading = ops.mean(keras.losses.sparse_categorical_crossentropy(labels, y_pred["probabilities"]))
        reconstruction = ops.mean(ops.square(y_pred["denoised"] - x["clean"]))
        likeness = ops.mean(structural_similarity(x["clean"], y_pred["denoised"]))
        return reading + self.reconstruction_weight * reconstruction + self.likeness_weight * (1 - likeness)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        self.accuracy.update_state(y, y_pred["probabilities"][: ops.shape(y)[0]])
        self.squared_error.update_state(x["clean"], y_pred["denoised"])
        return self.get_metrics_result()
