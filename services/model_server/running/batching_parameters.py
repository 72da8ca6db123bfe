"""The file behind --batching_parameters_file, checked, with TensorFlow Serving's defaults filled in. Pure."""

from dataclasses import dataclass
from typing import Self

from services.core.errors import ConfigError
from services.pb import tfserving_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchingParameters:
    """How large a batch may get, how long it may wait, how many may queue and run."""

    max_batch_size: int = 1000
    batch_timeout_s: float = 0.0
    max_enqueued_batches: int = 10
    num_batch_threads: int = 1
    thread_pool_name: str = "batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    max_execution_batch_size: int = 1000

    @classmethod
    def from_message(cls, message: pb.BatchingParameters, *, cpus: int) -> Self:
        """Raise ConfigError for a value that makes no sense or is not supported."""
        size = _value(message, "max_batch_size", 1000)
        largest = size
        if message.enable_large_batch_splitting.value:
            largest = _value(message, "max_execution_batch_size", size)
        parameters = cls(
            max_batch_size=size,
            batch_timeout_s=_value(message, "batch_timeout_micros", 0) / 1e6,
            max_enqueued_batches=_value(message, "max_enqueued_batches", 10),
            num_batch_threads=_value(message, "num_batch_threads", cpus),
            thread_pool_name=message.thread_pool_name.value or "batch_threads",
            allowed_batch_sizes=tuple(message.allowed_batch_sizes),
            max_execution_batch_size=largest,
        )
        parameters._check(message)
        return parameters

    def padded_size(self, rows: int) -> int:
        """The rows a batch of `rows` is filled up to."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)

    def _check(self, message: pb.BatchingParameters) -> None:
        for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads", "max_execution_batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"batching: {name} must be at least 1, not {getattr(self, name)}")
        if self.batch_timeout_s < 0:
            raise ConfigError("batching: batch_timeout_micros must not be negative")
        if self.max_execution_batch_size > self.max_batch_size:
            raise ConfigError("batching: max_execution_batch_size must not be larger than max_batch_size")
        allowed = self.allowed_batch_sizes
        largest = {self.max_execution_batch_size, self.max_batch_size}  # with splitting on, releases ask for either
        if allowed and (list(allowed) != sorted(set(allowed)) or allowed[-1] not in largest):
            raise ConfigError(
                f"batching: allowed_batch_sizes must rise and end with {self.max_execution_batch_size}, "
                f"the largest batch, not be {list(allowed)}"
            )
        if message.pad_variable_length_inputs:
            raise ConfigError("batching: pad_variable_length_inputs is not supported")


def _value(message: pb.BatchingParameters, name: str, default: int) -> int:
    return getattr(message, name).value if message.HasField(name) else default
