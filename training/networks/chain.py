"""Denoiser and classifier in one Keras model, trained end to end and served apart.

The denoiser learns to keep what the classifier needs, the classifier to read what the denoiser leaves. So that each is
of use alone, the denoiser also answers for the distance to the clean picture, of digits, of what is none and of whole
lines, and the classifier also reads pictures that no denoiser has touched: an eighth noisy, an eighth clean.

Direct is the control: one network that reads noisy pictures, with no denoiser before it. Either may have a teacher, a
chain trained before, and then learns its answers beside the labels (distillation).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

RAW = 8  # every eighth picture
PREDICTED_AT_ONCE = 500
TAUGHT = 0.7  # of the reading's loss, where there is a teacher


class Teacher:
    """A chain that only answers. No layer, so that none of its weights is trained, saved or counted with a pupil's."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def __call__(self, noisy: Any) -> dict[str, Any]:
        """What it reads in noisy pictures."""
        read = self._chain.classifier(self._chain.denoiser(noisy, training=False), training=False)
        return {name: ops.stop_gradient(answer) for name, answer in read.items()}


class Direct(keras.Model):
    """A batch (training/data/batches.py) -> `probabilities` and `is_digit`, read off the noisy pictures."""

    def __init__(
        self, classifier: keras.Model, *, judgement_weight: float = 0.5, teacher: Teacher | None = None
    ) -> None:
        super().__init__()
        self.classifier, self.teacher = classifier, teacher
        self.judgement_weight = judgement_weight
        self.accuracy = keras.metrics.Mean(name="accuracy")

    @property
    def networks(self) -> list[keras.Model]:
        """What is exported and served."""
        return [self.classifier]

    def call(self, batch: dict[str, Any], training: bool = False) -> dict[str, Any]:
        taught = {"taught": self.teacher(batch["noisy"])} if training and self.teacher else {}
        return self.classifier(batch["noisy"], training=training) | taught

    def answer(self, noisy: Any) -> dict[str, Any]:
        """`probabilities` and `is_digit` of any number of pictures."""
        return self.classifier.predict(noisy, batch_size=PREDICTED_AT_ONCE, verbose=0)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        return self.reading_loss(y, y_pred)

    def reading_loss(self, labels: Any, read: dict[str, Any]) -> Any:
        """Cross-entropy of the digit, where there is one, and of whether there is one."""
        shown = ops.cast(labels >= 0, "float32")  # 1 for a digit, 0 for what is none
        digit = keras.losses.sparse_categorical_crossentropy(ops.maximum(labels, 0), read["probabilities"])
        is_digit = shown
        if taught := read.get("taught"):  # of the pictures; of digits on strips the label alone is known
            count = ops.shape(taught["is_digit"])[0]
            soft = keras.losses.categorical_crossentropy(taught["probabilities"], read["probabilities"][:count])
            digit = ops.concatenate([(1 - TAUGHT) * digit[:count] + TAUGHT * soft, digit[count:]])
            told = (1 - TAUGHT) * shown[:count] + TAUGHT * taught["is_digit"]
            is_digit = ops.concatenate([told, shown[count:]])
        reading = ops.sum(shown * digit) / ops.maximum(ops.sum(shown), 1.0)
        return reading + self.judgement_weight * ops.mean(ops.binary_crossentropy(is_digit, read["is_digit"]))

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        read = ops.argmax(y_pred["probabilities"][: ops.shape(y)[0]], axis=1)
        right = ops.cast(ops.equal(ops.cast(read, y.dtype), y), "float32")
        self.accuracy.update_state(right, sample_weight=ops.cast(y >= 0, "float32"))
        return self.get_metrics_result()


class Chain(Direct):
    """A batch -> also `denoised` and `denoised_strips`; the classifier reads what is denoised."""

    def __init__(
        self,
        denoiser: keras.Model,
        classifier: keras.Model,
        *,
        reconstruction_weight: float = 12.0,
        veil_weight: float = 1.0,
        judgement_weight: float = 0.5,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__(classifier, judgement_weight=judgement_weight, teacher=teacher)
        self.denoiser = denoiser
        self.reconstruction_weight, self.veil_weight = reconstruction_weight, veil_weight

    @property
    def networks(self) -> list[keras.Model]:
        return [self.denoiser, self.classifier]

    def call(self, batch: dict[str, Any], training: bool = False) -> dict[str, Any]:
        noisy, clean = batch["noisy"], batch["clean"]
        denoised = self.denoiser(noisy, training=training)
        strips = self.denoiser(batch["noisy_strips"], training=training)
        raw = [noisy[::RAW], clean[1::RAW]] if training else []
        in_lines = [cut_out(strips, batch["strip_lefts"], batch["strip_masks"])] if training else []
        # One pass over all of them, so that batch norm learns one set of statistics that fits them together.
        read = self.classifier(ops.concatenate([denoised, *raw, *in_lines]), training=training)
        taught = {"taught": self.teacher(ops.concatenate([noisy, *raw]))} if training and self.teacher else {}
        return {"denoised": denoised, "denoised_strips": strips, **read, **taught}

    def answer(self, noisy: Any) -> dict[str, Any]:
        return super().answer(self.denoiser.predict(noisy, batch_size=PREDICTED_AT_ONCE, verbose=0))

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        labels = ops.concatenate([y, y[::RAW], y[1::RAW], ops.reshape(x["strip_labels"], (-1,))]) if training else y
        # Of a user's pictures nothing is known but what they show: the denoiser answers for their reading alone.
        error = ops.reshape(x["has_clean"], (-1, 1, 1, 1)) * ops.subtract(y_pred["denoised"], x["clean"])
        reconstruction = ops.mean(ops.square(error))
        lines = ops.mean(ops.square(ops.subtract(y_pred["denoised_strips"], x["clean_strips"])))
        # The squared distance forgives a faint veil over the black background; the plain distance does not.
        veil = ops.mean(ops.abs(error))
        return (
            self.reading_loss(labels, y_pred)
            + self.reconstruction_weight * (0.85 * reconstruction + 0.15 * lines)
            + self.veil_weight * veil
        )


def cut_out(strips: Any, lefts: Any, masks: Any) -> Any:
    """The digits of strips that begin at `lefts`, without what lies outside their masks: (n * digits, 28, 28, 1)."""
    columns = ops.expand_dims(lefts, -1) + ops.arange(ops.shape(masks)[3])
    chosen = ops.one_hot(columns, strips.shape[2])  # strip, digit, its column, the strip's column
    frames = ops.einsum("nkjw,nhwc->nkhjc", chosen, strips) * masks
    return ops.reshape(frames, (-1, *frames.shape[2:]))
