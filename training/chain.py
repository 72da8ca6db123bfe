"""Denoiser and classifier in one Keras model, trained end to end and served apart.

The denoiser learns to keep what the classifier needs, the classifier to read what the denoiser leaves. So that each is
of use alone, the denoiser also answers for the distance to the clean picture, of digits, of what is none and of whole
lines, and the classifier also reads pictures that no denoiser has touched: an eighth noisy, an eighth clean.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

RAW = 8  # every eighth picture


class Chain(keras.Model):
    """A batch (training/batches.py) -> `denoised`, `denoised_strips`, `probabilities` and `is_digit`."""

    def __init__(
        self,
        denoiser: keras.Model,
        classifier: keras.Model,
        *,
        reconstruction_weight: float = 12.0,
        veil_weight: float = 1.0,
        judgement_weight: float = 0.5,
    ) -> None:
        super().__init__()
        self.denoiser, self.classifier = denoiser, classifier
        self.reconstruction_weight, self.veil_weight = reconstruction_weight, veil_weight
        self.judgement_weight = judgement_weight
        self.accuracy = keras.metrics.Mean(name="accuracy")

    def call(self, batch: dict[str, Any], training: bool = False) -> dict[str, Any]:
        noisy, clean = batch["noisy"], batch["clean"]
        denoised = self.denoiser(noisy, training=training)
        # One pass over all three, so that batch norm learns one set of statistics that fits them together.
        raw = [noisy[::RAW], clean[1::RAW]] if training else []
        read = self.classifier(ops.concatenate([denoised, *raw]), training=training)
        return {
            "denoised": denoised,
            "denoised_strips": self.denoiser(batch["noisy_strips"], training=training),
            **read,
        }

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        labels = ops.concatenate([y, y[::RAW], y[1::RAW]]) if training else y
        shown = ops.cast(labels >= 0, "float32")  # 1 for a digit, 0 for what is none
        cross_entropy = keras.losses.sparse_categorical_crossentropy(ops.maximum(labels, 0), y_pred["probabilities"])
        reading = ops.sum(shown * cross_entropy) / ops.maximum(ops.sum(shown), 1.0)
        judgement = ops.mean(ops.binary_crossentropy(shown, y_pred["is_digit"]))
        # Of a user's pictures nothing is known but what they show: the denoiser answers for their reading alone.
        error = ops.reshape(x["has_clean"], (-1, 1, 1, 1)) * (y_pred["denoised"] - x["clean"])
        reconstruction = ops.mean(ops.square(error))
        lines = ops.mean(ops.square(y_pred["denoised_strips"] - x["clean_strips"]))
        # The squared distance forgives a faint veil over the black background; the plain distance does not.
        veil = ops.mean(ops.abs(error))
        return (
            reading
            + self.judgement_weight * judgement
            + self.reconstruction_weight * (0.85 * reconstruction + 0.15 * lines)
            + self.veil_weight * veil
        )

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        read = ops.argmax(y_pred["probabilities"][: ops.shape(y)[0]], axis=1)
        right = ops.cast(ops.equal(ops.cast(read, y.dtype), y), "float32")
        self.accuracy.update_state(right, sample_weight=ops.cast(y >= 0, "float32"))
        return self.get_metrics_result()
