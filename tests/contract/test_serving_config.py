"""deploy/serving and the flags in docker-compose.yml are what TensorFlow Serving reads.

The stock image cannot be run on every machine that runs these tests, so its side of the bargain is checked here: model
configs with tensorflow-serving-api's own protos, the kind of file that it ships no protos for with ours.
"""

import re

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from services.model_server.model_config import read_text_proto
from services.pb import tfserving_pb2
from tests.support.stack import ROOT

SERVING = ROOT / "deploy/serving"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]

# tensorflow_model_server's flags that a deployment of ours may want, as its main.cc declares them.
TFSERVING_FLAGS = {
    "port", "grpc_socket_path", "rest_api_port", "rest_api_num_threads", "rest_api_timeout_in_ms",
    "rest_api_enable_cors_support", "grpc_max_threads", "grpc_channel_arguments",
    "model_name", "model_base_path", "model_config_file", "model_config_file_poll_wait_seconds",
    "file_system_poll_wait_seconds", "allow_version_labels_for_unavailable_models",
    "enable_batching", "batching_parameters_file", "enable_per_model_batching_parameters",
    "monitoring_config_file", "enable_model_warmup", "num_request_iterations_for_warmup",
    "max_num_load_retries", "load_retry_interval_micros", "num_load_threads", "num_unload_threads",
    "tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism", "tensorflow_session_parallelism",
    "enable_grpc_healthcheck_service", "enable_profiler", "ssl_config_file", "prefer_tflite_model",
    "enable_serialization_as_tensor_content",
}  # fmt: skip


@pytest.mark.parametrize(
    ("folder", "mounted"), [(SERVING, "/models"), (ROOT / "deploy/kubernetes/overlays/kserve", "/mnt/models")]
)
@pytest.mark.parametrize("name", ["denoiser", "classifier"])
def test_model_config_serves_one_model_from_the_mounted_folder(name, folder, mounted):
    text = (folder / f"{name}.config").read_text()
    [model] = text_format.Parse(text, model_server_config_pb2.ModelServerConfig()).model_config_list.config

    assert (model.name, model.base_path, model.model_platform) == (name, f"{mounted}/{name}", "tensorflow")
    assert model.model_version_policy.WhichOneof("policy_choice") == "latest"


def test_monitoring_config_shows_metrics_where_prometheus_looks():
    prometheus = read_text_proto(str(SERVING / "monitoring.config"), tfserving_pb2.MonitoringConfig).prometheus_config
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]

    assert prometheus.enable
    assert {job["metrics_path"] for job in scraped if job["job_name"] != "cleardigits-gateway"} == {prometheus.path}


@pytest.mark.parametrize("name", ["denoiser", "classifier"])
def test_every_flag_is_one_of_tensorflow_serving(name):
    flags = [word.removeprefix("--").partition("=")[0] for word in COMPOSE[name]["command"]]

    assert all(word.startswith("--") for word in COMPOSE[name]["command"])
    assert set(flags) <= TFSERVING_FLAGS
    assert len(flags) == len(set(flags))


@pytest.mark.parametrize("name", ["denoiser", "classifier"])
def test_every_file_that_a_flag_names_is_mounted(name):
    named = re.findall(r"--\w+_file=/etc/cleardigits/(\S+)", " ".join(COMPOSE[name]["command"]))

    assert "./deploy/serving:/etc/cleardigits:ro" in COMPOSE[name]["volumes"]
    assert named and all((SERVING / file).is_file() for file in named)
