"""Probabilities that mean what they say, folded into the last layers: at no cost in serving.

The digits' logits are divided by one temperature; the logit of `is_digit` gets a gain and an offset (Platt scaling), so
that it is the probability among as many digits as pictures that show none.
"""

from __future__ import annotations

import numpy as np

from services.core.noise import gaussian
from training.data.dataset import Digits
from training.data.outliers import outliers
from training.networks.chain import Direct

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of Gaussian noise, as often as each other
NEWTON_STEPS = 25
RIDGE = 1e-9
TEMPERATURES = np.geomspace(0.5, 2.0, 201)


def calibrate(model: Direct, validation: Digits, *, seed: int) -> float:
    """Scale the logits to suit validation images at every level best; answers the temperature."""
    rng = np.random.default_rng(seed)
    none = outliers(validation, len(validation), rng)
    probabilities, judged, judged_none = [], [], []
    for level in LEVELS:
        answer = model.answer(gaussian(validation.images, level, rng))
        probabilities.append(answer["probabilities"])
        judged.append(answer["is_digit"])
        judged_none.append(model.answer(gaussian(none, level, rng))["is_digit"])
    temperature = best_temperature(np.concatenate(probabilities), np.tile(validation.labels, len(LEVELS)))
    logits = model.classifier.get_layer("logits")
    logits.set_weights([weight / temperature for weight in logits.get_weights()])
    gain, offset = best_scaling(np.concatenate(judged), np.concatenate(judged_none))
    judgement = model.classifier.get_layer("judgement")
    kernel, bias = judgement.get_weights()
    judgement.set_weights([gain * kernel, gain * bias + offset])
    return temperature


def best_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature with the lowest negative log-likelihood."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), 1e-12))

    def negative_log_likelihood(temperature: float) -> float:
        scaled = logits / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(labels)), labels]))

    return float(min(TEMPERATURES, key=negative_log_likelihood))


def best_scaling(digits: np.ndarray, none: np.ndarray) -> tuple[float, float]:
    """Gain and offset of the logit with the lowest negative log-likelihood, both sets weighing the same."""
    logits = np.concatenate([_logit(digits), _logit(none)])
    labels = np.repeat([1.0, 0.0], [len(digits), len(none)])
    weights = np.repeat([0.5 / len(digits), 0.5 / len(none)], [len(digits), len(none)])
    features = np.stack([logits, np.ones_like(logits)], axis=1)
    scaling = np.zeros(2)
    for _ in range(NEWTON_STEPS):  # logistic regression
        expected = 0.5 * (1 + np.tanh(features @ scaling / 2))
        gradient = features.T @ (weights * (expected - labels))
        curvature = (features * (weights * expected * (1 - expected))[:, None]).T @ features
        scaling = scaling - np.linalg.solve(curvature + RIDGE * np.eye(2), gradient)
    return float(scaling[0]), float(scaling[1])


def _logit(probabilities: np.ndarray) -> np.ndarray:
    clipped = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.log(clipped / (1 - clipped))
