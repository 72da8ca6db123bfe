"""Wires one server together: models, calls, both interfaces and the watcher."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from services.core.errors import ConfigError
from services.model_server.calls.examples import Examples
from services.model_server.calls.prediction import PredictionCalls
from services.model_server.config import CPUS, MAX_MESSAGE_BYTES, ServerConfig
from services.model_server.engines.choice import EngineOptions
from services.model_server.interfaces.grpc_api import handlers
from services.model_server.interfaces.grpc_server import HealthReporter, bind, build_server
from services.model_server.interfaces.lane import LaneServer, answers
from services.model_server.interfaces.reflection import add_reflection
from services.model_server.interfaces.rest import RestApi
from services.model_server.interfaces.rest_server import RestServer
from services.model_server.metrics import ServerMetrics
from services.model_server.running.batching import BatchingRunner
from services.model_server.running.batching_parameters import BatchingParameters
from services.model_server.running.per_model import PerModelRunner
from services.model_server.running.runners import DirectRunner, Runner
from services.model_server.statuses import StatusError
from services.model_server.versions.loading import ServableLoader
from services.model_server.versions.repository import ModelRepository
from services.model_server.versions.served_model import RetryPolicy
from services.model_server.versions.signed_files import signature_check
from services.model_server.watcher import Watcher


class ModelServer:
    """Load, start, drain: in that order, once."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config = config.of_platform()
        self._models_config = config.model_server_config()
        metrics = ServerMetrics()
        runner = _runner(config, metrics)
        self._models = ModelRepository(
            ServableLoader(
                metrics=metrics,
                engine=EngineOptions(
                    threads=config.tensorflow_session_parallelism or config.tensorflow_intra_op_parallelism or 1,
                    inter_op_threads=config.tensorflow_session_parallelism or config.tensorflow_inter_op_parallelism,
                    prefer_tflite=config.prefer_tflite_model,
                    tflite_interpreters=config.num_tflite_pools or 2,
                    tags=config.tags(),
                ),
                warmup=config.enable_model_warmup,
                warmup_iterations=config.num_request_iterations_for_warmup or 1,
                verify_signature=(
                    signature_check(Path(config.verify_signatures)) if config.verify_signatures else None
                ),
                verify_digests=config.verify_digests,
                check=runner.check if isinstance(runner, PerModelRunner) else None,
            ),
            retry=RetryPolicy(
                max_retries=config.max_num_load_retries, interval_s=max(0, config.load_retry_interval_micros) / 1e6
            ),
            allow_labels_for_unavailable=config.allow_version_labels_for_unavailable_models,
            allow_signature_change=config.allow_signature_change,
        )
        prediction = PredictionCalls(
            self._models,
            runner,
            metrics,
            as_content=config.enable_serialization_as_tensor_content,
            check_method=config.enable_signature_method_name_check,
        )
        examples = Examples(prediction, check_method=config.enable_signature_method_name_check)
        control = ThreadPoolExecutor(2, thread_name_prefix="control")
        self._lane_answers = answers(prediction, self._models, metrics)
        self._lane: LaneServer | None = None
        self._grpc = build_server(config, handlers(prediction, examples, self._models, metrics, control))
        self._health = (
            HealthReporter(self._grpc, self._models, control) if config.enable_grpc_healthcheck_service else None
        )
        add_reflection(self._grpc, health=config.enable_grpc_healthcheck_service)
        self._rest_api = RestApi(
            prediction,
            examples,
            self._models,
            metrics,
            metrics_path=config.metrics_path(),
            timeout_s=config.rest_api_timeout_in_ms / 1e3,
            max_body_bytes=MAX_MESSAGE_BYTES,
            cors=config.rest_api_enable_cors_support,
        )
        self._rest: RestServer | None = None
        self._watcher = Watcher(config, self._models)
        self.grpc_port = 0

    @property
    def rest_port(self) -> int:
        """The REST port in use, 0 for none."""
        return self._rest.port if self._rest else 0

    def load(self, stop: threading.Event) -> None:
        """Return when every model has a version available, or `stop` is set.

        Raises ConfigError where there is nothing to load, StatusError where loading has been given up.
        """
        try:
            self._models.apply(self._models_config)
        except StatusError as exc:
            raise ConfigError(str(exc)) from exc
        while missing := [model for model in self._models.models() if not model.available]:
            for model in missing:
                if model.problem:
                    raise ConfigError(model.problem)
                if model.gave_up():
                    self._models.require_available()
            retry_at = self._models.next_retry_at() or 0.0
            if stop.wait(max(0.05, min(1.0, retry_at - time.monotonic()))):
                return
            self._models.reconcile(scan=True)

    def start(self) -> None:
        """Open the ports."""
        self.grpc_port = bind(self._grpc, self._config)
        if self._config.rest_api_port:
            self._rest = RestServer(self._config, self._rest_api)
        if self._config.lane_path:
            self._lane = LaneServer(Path(self._config.lane_path), self._lane_answers)
            self._lane.start()
        self._grpc.start()
        if self._rest:
            self._rest.start()
        self._watcher.start()

    def drain(self) -> bool:
        """Say NOT_SERVING, refuse new calls, let those in progress finish; False when time ran out before they had."""
        deadline = time.monotonic() + self._config.drain_seconds
        self._watcher.stop()
        if self._health:
            self._health.leave()
        stopped = self._grpc.stop(self._config.drain_seconds)
        others = [server.stop(max(0.0, deadline - time.monotonic())) for server in (self._lane, self._rest) if server]
        return stopped.wait(max(0.0, deadline - time.monotonic())) and all(others) and time.monotonic() < deadline


def _runner(config: ServerConfig, metrics: ServerMetrics) -> Runner:
    message = config.batching_parameters()
    if message is None:
        return DirectRunner(CPUS)
    parameters = BatchingParameters.from_message(message, cpus=CPUS)
    if config.enable_per_model_batching_parameters:
        return PerModelRunner(parameters, metrics, DirectRunner(CPUS))
    return BatchingRunner(parameters, metrics)
