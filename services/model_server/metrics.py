"""TensorFlow Serving's metrics under its own names, in Prometheus' text form.

Written here rather than with prometheus-client because the names end where that library insists on `_total`, and
because a call costs one lock and one addition instead of 33 buckets.
"""

import bisect
import threading
from collections.abc import Iterator

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "/tensorflow/serving/"  # `/` becomes `:` where Prometheus reads it
LATENCY_BUCKETS = tuple(10 * 1.8**i for i in range(33))  # microseconds
SIZE_BUCKETS = tuple(float(2**i) for i in range(15))

Labels = tuple[str, ...]


class Counter:
    """A number per label values that only rises."""

    kind = "counter"

    def __init__(self, name: str, text: str, labels: Labels) -> None:
        self.name, self.text, self.labels = name, text, labels
        self._lock = threading.Lock()
        self._values: dict[Labels, float] = {}

    def add(self, values: Labels, amount: float = 1) -> None:
        """Count `amount` more."""
        with self._lock:
            self._values[values] = self._values.get(values, 0) + amount

    def total(self) -> int:
        """Over all labels."""
        with self._lock:
            return int(sum(self._values.values()))

    def lines(self) -> Iterator[str]:
        """Sample lines."""
        with self._lock:
            values = dict(self._values)
        for key, value in values.items():
            yield f"{_exported(self.name)}{_pairs(self.labels, key)} {value:g}"


class Histogram:
    """Observations per label values, sorted into buckets."""

    kind = "histogram"

    def __init__(self, name: str, text: str, labels: Labels, buckets: tuple[float, ...]) -> None:
        self.name, self.text, self.labels, self._buckets = name, text, labels, buckets
        self._lock = threading.Lock()
        self._series: dict[Labels, tuple[list[int], list[float]]] = {}

    def observe(self, values: Labels, number: float) -> None:
        """Count one observation."""
        bucket = bisect.bisect_left(self._buckets, number)
        with self._lock:
            series = self._series.get(values)
            if series is None:
                series = self._series[values] = ([0] * (len(self._buckets) + 1), [0.0])
            series[0][bucket] += 1
            series[1][0] += number

    def total(self) -> int:
        """Observations over all labels."""
        with self._lock:
            return sum(sum(counts) for counts, _ in self._series.values())

    def lines(self) -> Iterator[str]:
        """Sample lines, buckets cumulated."""
        with self._lock:
            series = {key: (list(counts), total[0]) for key, (counts, total) in self._series.items()}
        name = _exported(self.name)
        for key, (counts, total) in series.items():
            below = 0
            for limit, count in zip((*self._buckets, float("inf")), counts, strict=True):
                below += count
                shown = "+Inf" if limit == float("inf") else f"{limit:g}"
                yield f"{name}_bucket{_pairs((*self.labels, 'le'), (*key, shown))} {below}"
            yield f"{name}_sum{_pairs(self.labels, key)} {total:.9g}"
            yield f"{name}_count{_pairs(self.labels, key)} {below}"


class ServerMetrics:
    """Everything one server counts."""

    def __init__(self) -> None:
        self.request_count = Counter(
            PREFIX + "request_count", "The total number of requests.", ("model_name", "status")
        )
        self.request_latency = Histogram(
            PREFIX + "request_latency",
            "Distribution of wall time (in microseconds).",
            ("model_name", "API", "entrypoint"),
            LATENCY_BUCKETS,
        )
        self.runtime_latency = Histogram(
            PREFIX + "runtime_latency",
            "Distribution of wall time spent computing (in microseconds).",
            ("model_name", "API", "runtime"),
            LATENCY_BUCKETS,
        )
        self.load_attempts = Counter(
            "/tensorflow/cc/saved_model/load_attempt_count",
            "The number of times a SavedModel was loaded.",
            ("model_path", "status"),
        )
        self.model_warmup_latency = Histogram(
            PREFIX + "model_warmup_latency",
            "Distribution of wall time (in microseconds) of warm-up.",
            ("model_path", "status"),
            LATENCY_BUCKETS,
        )
        self.warmup_records_read = Counter(
            PREFIX + "model_warmup_records_read", "The total number of warm-up records read.", ("model_path", "status")
        )
        self.queuing_latency = Histogram(
            PREFIX + "batching_session/queuing_latency",
            "Distribution of wall time spent queuing for a batch (in microseconds).",
            ("thread_pool_name",),
            LATENCY_BUCKETS,
        )
        self.batches = Counter(
            PREFIX + "batching_session/wrapped_run_count", "The total number of batches computed.", ()
        )
        self.input_batch_size = Histogram(
            PREFIX + "batching_session/input_batch_size", "Rows of each request.", ("thread_pool_name",), SIZE_BUCKETS
        )
        self.processed_batch_size = Histogram(
            PREFIX + "batching_session/processed_batch_size",
            "Rows of each batch computed.",
            ("thread_pool_name",),
            SIZE_BUCKETS,
        )
        self.padding_size = Histogram(
            PREFIX + "batching_session/padding_size",
            "Rows added to reach an allowed batch size.",
            ("thread_pool_name",),
            SIZE_BUCKETS,
        )

    def value(self, name: str) -> int:
        """The total of the metric TensorFlow calls `name`; 0 for one that is not counted."""
        return next((metric.total() for metric in self._all() if metric.name == name), 0)

    def expose(self) -> bytes:
        """All of it, as Prometheus reads it."""
        lines: list[str] = []
        for metric in self._all():
            lines.append(f"# HELP {_exported(metric.name)} {metric.text}")
            lines.append(f"# TYPE {_exported(metric.name)} {metric.kind}")
            lines.extend(metric.lines())
        return ("\n".join(lines) + "\n").encode()

    def _all(self) -> list[Counter | Histogram]:
        return list(vars(self).values())


def _exported(name: str) -> str:
    return name.replace("/", ":")


def _pairs(names: Labels, values: Labels) -> str:
    if not names:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
