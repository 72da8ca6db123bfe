"""What Prometheus sees of the shadow: how its answers compare with those that users were told."""

from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.gateway.histograms import BatchHistogram
from services.gateway.reading.shadow import Comparison, NumberComparison

OUTCOMES = ("agreed", "differed", "failed", "dropped")
_GAINS = (-0.5, -0.2, -0.1, -0.05, -0.02, -0.01, -0.001, 0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_RATIOS = (0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2, 3, 5, 10)


class ShadowMetrics:
    """Counts comparisons; a ShadowObserver."""

    def __init__(self, registry: CollectorRegistry) -> None:
        named: dict[str, Any] = {"registry": registry}
        pictures = Counter("cleardigits_shadow_pictures", "Pictures for the shadow.", ["outcome"], **named)
        self._pictures = {outcome: pictures.labels(outcome) for outcome in OUTCOMES}
        numbers = Counter("cleardigits_shadow_numbers", "Lines for the shadow.", ["outcome"], **named)
        self._numbers = {outcome: numbers.labels(outcome) for outcome in OUTCOMES}
        self._pairs = Counter(
            "cleardigits_shadow_disagreements", "Pictures read differently.", ["answered", "shadow"], **named
        )
        self._gained = BatchHistogram(
            "cleardigits_shadow_confidence_gained",
            "The shadow's confidence less that of the answer.",
            buckets=_GAINS,
            **named,
        )
        self._ratio = Histogram(
            "cleardigits_shadow_latency_ratio",
            "Time of a call, repeated alone, in the shadow's models / in the models that answered.",
            buckets=_RATIOS,
            **named,
        )
        self._info = Gauge(
            "cleardigits_shadow_model_info",
            "1 for the version that the shadow asked last.",
            ["model", "version"],
            multiprocess_mode="mostrecent",
            **named,
        )
        self._versions: dict[str, int] = {}

    def compared(self, comparison: Comparison) -> None:
        """The shadow has read the pictures of a batch."""
        differed = comparison.answered != comparison.shadowed
        for outcome, count in (("differed", int(differed.sum())), ("agreed", int((~differed).sum()))):
            self._pictures[outcome].inc(count)
        for answered, shadowed in np.column_stack((comparison.answered, comparison.shadowed))[differed].tolist():
            self._pairs.labels(str(answered), str(shadowed)).inc()
        self._gained.observe_all(comparison.confidence_gained.tolist())
        if comparison.latency_ratio is not None:
            self._ratio.observe(comparison.latency_ratio)
        self._asked(denoiser=comparison.denoiser_version, classifier=comparison.classifier_version)

    def lost(self, outcome: str, images: int) -> None:
        """Pictures that the shadow was not asked about, or gave no answer for."""
        self._pictures[outcome].inc(images)

    def number_compared(self, comparison: NumberComparison) -> None:
        """The shadow has read a line."""
        self._numbers["agreed" if comparison.answered == comparison.shadowed else "differed"].inc()
        self._asked(denoiser=comparison.denoiser_version, classifier=comparison.classifier_version)

    def number_lost(self, outcome: str) -> None:
        """A line that the shadow was not asked about, or gave no answer for."""
        self._numbers[outcome].inc()

    def _asked(self, **versions: int | None) -> None:
        for model, version in versions.items():
            if version is not None and self._versions.get(model) != version:
                if model in self._versions:
                    self._info.labels(model, str(self._versions[model])).set(0)
                self._info.labels(model, str(version)).set(1)
                self._versions[model] = version
