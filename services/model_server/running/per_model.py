"""--enable_per_model_batching_parameters: each version batches as its own batching_params.pbtxt says, or not at all."""

import dataclasses
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from services.core.errors import ConfigError
from services.model_server.engines.base import LoadError
from services.model_server.metrics import ServerMetrics
from services.model_server.model_config import read_text_proto
from services.model_server.running.batching import BatchingRunner
from services.model_server.running.batching_parameters import BatchingParameters
from services.model_server.running.runners import Arrays, DirectRunner, Runner
from services.model_server.signatures import Signature
from services.model_server.versions.servable import Servable
from services.pb import tfserving_pb2 as pb

FILE_NAME = "batching_params.pbtxt"


class PerModelRunner:
    """One runner for each version; of the common parameters only those of the threads count, as there."""

    def __init__(self, common: BatchingParameters, metrics: ServerMetrics, direct: DirectRunner) -> None:
        self._common = common
        self._metrics = metrics
        self._direct = direct
        self._lock = threading.Lock()
        self._runners: weakref.WeakKeyDictionary[Servable, Runner] = weakref.WeakKeyDictionary()

    def check(self, folder: Path) -> None:
        """Raise LoadError for a version whose file cannot be used."""
        try:
            self._parameters(folder)
        except ConfigError as exc:
            raise LoadError(str(exc)) from exc

    def run(
        self, servable: Servable, signature: Signature, inputs: Arrays, names: Sequence[str], *, deadline: float | None
    ) -> list[np.ndarray]:
        """As Runner.run."""
        with self._lock:
            runner = self._runners.get(servable)
            if runner is None:
                parameters = self._parameters(servable.path)
                runner = self._direct if parameters is None else BatchingRunner(parameters, self._metrics)
                self._runners[servable] = runner
        return runner.run(servable, signature, inputs, names, deadline=deadline)

    def _parameters(self, folder: Path) -> BatchingParameters | None:
        path = folder / FILE_NAME
        if not path.is_file():
            return None
        message = read_text_proto(str(path), pb.BatchingParameters)
        own = BatchingParameters.from_message(message, cpus=self._common.num_batch_threads)
        return dataclasses.replace(
            own, num_batch_threads=self._common.num_batch_threads, thread_pool_name=self._common.thread_pool_name
        )
