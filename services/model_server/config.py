"""Everything the model server can be told from outside, with TensorFlow Serving's defaults."""

import os
from dataclasses import dataclass, replace
from typing import Self

from services.core import addresses
from services.core.errors import ConfigError
from services.model_server.model_config import read_platform_config, read_text_proto, single_model
from services.pb import tfserving_pb2 as pb

CPUS = os.cpu_count() or 1
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
METRICS_PATH = "/monitoring/prometheus/metrics"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """One field a flag, under the flag's own name; zero often means "off" or "choose", as the flag's help says."""

    port: int = 8500
    rest_api_port: int = 0
    grpc_socket_path: str = ""
    lane_path: str = ""
    host: str = "0.0.0.0"
    model_name: str = "default"
    model_base_path: str = ""
    model_config_file: str = ""
    model_config_file_poll_wait_seconds: int = 0
    file_system_poll_wait_seconds: int = 1
    num_load_threads: int = 0
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    allow_version_labels_for_unavailable_models: bool = False
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 0
    verify_digests: bool = True
    verify_signatures: str = ""
    allow_signature_change: bool = False
    num_unload_threads: int = 0
    saved_model_tags: str = "serve"
    enable_signature_method_name_check: bool = False
    enable_batching: bool = False
    batching_parameters_file: str = ""
    enable_per_model_batching_parameters: bool = False
    monitoring_config_file: str = ""
    enable_grpc_healthcheck_service: bool = False
    enable_serialization_as_tensor_content: bool = False
    prefer_tflite_model: bool = False
    num_tflite_pools: int = 0
    grpc_max_threads: int = 0
    grpc_channel_arguments: str = ""
    rest_api_num_threads: int = 0
    rest_api_timeout_in_ms: int = 30_000
    rest_api_enable_cors_support: bool = False
    tensorflow_session_parallelism: int = 0
    tensorflow_intra_op_parallelism: int = 0
    tensorflow_inter_op_parallelism: int = 0
    use_alts_credentials: bool = False
    ssl_config_file: str = ""
    platform_config_file: str = ""
    drain_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name in ("port", "rest_api_port"):
            try:
                addresses.port(getattr(self, name))
            except ValueError as exc:
                raise ConfigError(f"--{name}: {exc}") from None
        if not self.model_config_file and not self.model_base_path:
            raise ConfigError("one of --model_base_path and --model_config_file must be given")
        if not self.port and not self.grpc_socket_path and not self.rest_api_port:
            raise ConfigError("nothing to listen on: --port, --grpc_socket_path and --rest_api_port are all off")
        if self.port and self.port == self.rest_api_port:
            raise ConfigError("--rest_api_port must not be the same as --port")
        if self.batching_parameters_file and not self.enable_batching:
            raise ConfigError("--batching_parameters_file needs --enable_batching")
        if self.enable_per_model_batching_parameters and not self.enable_batching:
            raise ConfigError("--enable_per_model_batching_parameters needs --enable_batching")
        if self.tensorflow_session_parallelism and (
            self.tensorflow_intra_op_parallelism or self.tensorflow_inter_op_parallelism
        ):
            raise ConfigError(
                "--tensorflow_session_parallelism and --tensorflow_{intra,inter}_op_parallelism exclude each other"
            )
        if self.use_alts_credentials:  # to serve without them would be worse than not to serve
            raise ConfigError("--use_alts_credentials is not supported: use --ssl_config_file")

    def tags(self) -> frozenset[str]:
        """The tags of the graph to serve."""
        return frozenset(filter(None, self.saved_model_tags.split(",")))

    def model_server_config(self) -> pb.ModelServerConfig:
        """The models to serve, read now: the file may change while the server runs."""
        if self.model_config_file:
            return read_text_proto(self.model_config_file, pb.ModelServerConfig)
        return single_model(self.model_name, self.model_base_path)

    def of_platform(self) -> Self:
        """These settings with what --platform_config_file says in the place of the flags that it replaces; read now."""
        if not self.platform_config_file:
            return self
        bundle = read_platform_config(self.platform_config_file)
        session = bundle.session_config
        return replace(
            self,
            enable_batching=bundle.HasField("batching_parameters"),
            batching_parameters_file="",
            enable_per_model_batching_parameters=False,
            enable_model_warmup=bundle.enable_model_warmup,
            num_request_iterations_for_warmup=bundle.model_warmup_options.num_request_iterations.value,
            saved_model_tags=",".join(bundle.saved_model_tags) or "serve",
            prefer_tflite_model=bundle.prefer_tflite_model,
            tensorflow_session_parallelism=0,
            tensorflow_intra_op_parallelism=session.intra_op_parallelism_threads,
            tensorflow_inter_op_parallelism=session.inter_op_parallelism_threads,
        )

    def batching_parameters(self) -> pb.BatchingParameters | None:
        """None when batching is off."""
        if self.platform_config_file:
            bundle = read_platform_config(self.platform_config_file)
            return bundle.batching_parameters if bundle.HasField("batching_parameters") else None
        if not self.enable_batching:
            return None
        if not self.batching_parameters_file:
            return pb.BatchingParameters()
        return read_text_proto(self.batching_parameters_file, pb.BatchingParameters)

    def metrics_path(self) -> str | None:
        """Where metrics are shown; None when they are not."""
        if not self.monitoring_config_file:
            return None
        prometheus = read_text_proto(self.monitoring_config_file, pb.MonitoringConfig).prometheus_config
        return (prometheus.path or METRICS_PATH) if prometheus.enable else None


# tensorflow_model_server's flags that mean nothing here: GPUs, XLA, TPUs, the profiler, what its own runtime does.
UNUSED: dict[str, type] = {
    "enable_profiler": bool,
    "flush_filesystem_caches": bool,
    "mixed_precision": str,
    "num_tflite_interpreters_per_pool": int,
    "per_process_gpu_memory_fraction": float,
    "remove_unused_fields_from_bundle_metagraph": bool,
    "skip_initialize_tpu": bool,
    "tensorflow_session_config_file": str,
    "thread_pool_factory_config_file": str,
    "xla_cpu_compilation_enabled": bool,
    "xla_gpu_compilation_enabled": bool,
}

HELP: dict[str, str] = {
    "port": "gRPC port; 0: off",
    "rest_api_port": "REST port; 0: off",
    "grpc_socket_path": "also listen for gRPC on this UNIX socket",
    "lane_path": "also listen on this UNIX socket for a gateway on the same machine, without HTTP/2",
    "host": "address to bind both ports on",
    "model_name": "name of the model (ignored with --model_config_file)",
    "model_base_path": "folder of version folders (ignored with --model_config_file)",
    "model_config_file": "ModelServerConfig in protobuf text form",
    "model_config_file_poll_wait_seconds": "read it again this often; 0: once",
    "file_system_poll_wait_seconds": "look for new versions this often; 0: once",
    "num_load_threads": "accepted; one version loads at a time, and one that waits to be tried again holds up none",
    "max_num_load_retries": "further attempts after a version's first failed load",
    "load_retry_interval_micros": "wait between such attempts",
    "allow_version_labels_for_unavailable_models": "let unused labels point at versions that are not loaded yet",
    "enable_model_warmup": "replay a version's warm-up requests before it is available",
    "num_request_iterations_for_warmup": "replay each of them this often; 0: once",
    "verify_digests": "refuse a version with a file that differs from the SHA-256 in its model_card.json",
    "verify_signatures": "refuse a version without a model.sig made with the private key of this public key (PEM file)",
    "allow_signature_change": "take a new version whose signatures lack, or change, one that is served now",
    "num_unload_threads": "accepted: a version is unloaded as soon as its last request is done, without a thread",
    "saved_model_tags": "tags of the graph to serve, separated by commas",
    "enable_signature_method_name_check": "refuse calls to signatures exported for another method",
    "enable_batching": "join requests to one model into batches",
    "batching_parameters_file": "BatchingParameters in protobuf text form",
    "enable_per_model_batching_parameters": "batch only versions with a batching_params.pbtxt, as that file says",
    "monitoring_config_file": "MonitoringConfig in protobuf text form",
    "enable_grpc_healthcheck_service": "serve grpc.health.v1",
    "enable_serialization_as_tensor_content": "answer with tensor_content, not *_val fields",
    "prefer_tflite_model": "serve model.tflite where a version has one (needs ai-edge-litert)",
    "num_tflite_pools": "interpreters for one model.tflite; 0: two",
    "grpc_max_threads": "threads for gRPC calls; 0: 4 x CPUs",
    "grpc_channel_arguments": "name=value,... for the gRPC server",
    "rest_api_num_threads": "threads for REST calls; 0: 4 x CPUs",
    "rest_api_timeout_in_ms": "longest a REST call may wait for its turn in a batch",
    "rest_api_enable_cors_support": "add CORS headers to REST answers",
    "tensorflow_session_parallelism": "sets both of the following; 0: they are set by themselves",
    "tensorflow_intra_op_parallelism": "engine threads for one operation; 0: one",
    "tensorflow_inter_op_parallelism": "operations of one call side by side (TensorFlow engine); 0: its default",
    "use_alts_credentials": "not supported: true is an error",
    "ssl_config_file": "SSLConfig in protobuf text form: serve gRPC over TLS",
    "platform_config_file": "PlatformConfigMap in protobuf text form, in the place of flags for batching and sessions",
    "drain_seconds": "after SIGTERM, let calls in progress finish for this long",
}
