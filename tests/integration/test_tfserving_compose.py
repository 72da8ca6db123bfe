"""Compose files as TensorFlow Serving's documents show them start the model server, by its image's own entrypoint.

Without an engine nothing is mounted: paths inside are those outside, and the host's ports are the container's.
"""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
import requests
import yaml

from deploy.stack.chain import wait_until
from services.core.tensors import from_proto
from services.pb import tfserving_pb2 as pb
from tests.support.model_server import call, predict_request, write_scale_model
from tests.support.stack import ROOT, free_port

FOLDER = ROOT / "services/model_server"
ENTRYPOINT = json.loads(re.search(r"^ENTRYPOINT (\[.+\])$", (FOLDER / "Dockerfile").read_text(), re.M)[1])
WAIT_S = 60.0

# One model by the environment, as in "Serving with Docker".
BY_NAME = """
services:
  serving:
    image: tensorflow/serving
    ports:
      - "{rest}:8501"
    volumes:
      - "{base}/models/half:{base}/models/half"
    environment:
      MODEL_NAME: half
      MODEL_BASE_PATH: {base}/models
    command: --port={grpc} --rest_api_port={rest}
"""
# Several by a file, with batching and metrics, as in "Serving configuration".
BY_FILE = """
services:
  serving:
    image: tensorflow/serving
    ports:
      - "{grpc}:8500"
      - "{rest}:8501"
    volumes:
      - type: bind
        source: {base}/models
        target: {base}/models
    command:
      - --port={grpc}
      - --rest_api_port={rest}
      - --model_config_file={base}/models/models.config
      - --model_config_file_poll_wait_seconds=60
      - --monitoring_config_file={base}/models/monitoring.config
      - --enable_batching=true
      - --batching_parameters_file={base}/models/batching_parameters.txt
"""
# The program by its own name, and a platform's configuration in the place of flags.
BY_PROGRAM = """
services:
  serving:
    image: tensorflow/serving
    entrypoint: /usr/bin/tensorflow_model_server
    command:
      - --port={grpc}
      - --rest_api_port={rest}
      - --model_name=half
      - --model_base_path={base}/models/half
      - --platform_config_file={base}/models/platform.config
      - --monitoring_config_file={base}/models/monitoring.config
"""
FILES = {
    "models.config": """
model_config_list {
  config {
    name: 'half'
    base_path: '{base}/models/half'
    model_platform: 'tensorflow'
  }
  config {
    name: 'twice'
    base_path: '{base}/models/twice'
    model_platform: 'tensorflow'
    model_version_policy {
      specific {
        versions: 1
        versions: 2
      }
    }
    version_labels {
      key: 'stable'
      value: 1
    }
  }
}
""",
    "monitoring.config": """
prometheus_config {
  enable: true,
  path: "/monitoring/prometheus/metrics"
}
""",
    "batching_parameters.txt": """
max_batch_size { value: 128 }
batch_timeout_micros { value: 0 }
max_enqueued_batches { value: 1000000 }
num_batch_threads { value: 2 }
""",
    "platform.config": """
platform_configs {
  key: "tensorflow"
  value {
    source_adapter_config {
      [type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig] {
        legacy_config {
          batching_parameters {
            max_batch_size { value: 16 }
            thread_pool_name { value: "platform_threads" }
          }
          enable_model_warmup: true
        }
      }
    }
  }
}
""",
}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder with two models and the files."""
    write_scale_model(tmp_path / "models/half", 1, factor=0.5)
    for version in (1, 2):
        write_scale_model(tmp_path / "models/twice", version, factor=2.0 * version)
    for name, text in FILES.items():
        (tmp_path / "models" / name).write_text(text.replace("{base}", str(tmp_path)))
    return tmp_path


@contextmanager
def up(text: str, base: Path) -> Iterator[tuple[str, grpc.Channel]]:
    """The one service of a compose file as a process: the address of its REST port, and a channel."""
    ports = {"grpc": free_port(), "rest": free_port()}
    compose = base / "docker-compose.yml"
    compose.write_text(text.format(base=base, **ports))
    service = yaml.safe_load(compose.read_text())["services"]["serving"]
    program = Path(service.get("entrypoint", ENTRYPOINT[0])).name
    command = service["command"] if isinstance(service["command"], list) else shlex.split(service["command"])
    environ = {**os.environ, **service.get("environment", {})}
    environ["PATH"] = f"{FOLDER}:{Path(sys.executable).parent}:{environ['PATH']}"  # as in the image: ln -s, the venv
    environ["PYTHONPATH"] = str(ROOT)
    process = subprocess.Popen(
        [program, *command], cwd=base, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with process:
        try:
            wait_for(ports["rest"], process)
            with grpc.insecure_channel(f"127.0.0.1:{ports['grpc']}") as channel:
                yield f"http://127.0.0.1:{ports['rest']}", channel
        finally:
            process.terminate()


def wait_for(port: int, process: subprocess.Popen[str]) -> None:
    def listens() -> bool:
        assert process.poll() is None, process.communicate()[0]
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    assert wait_until(listens, timeout_s=WAIT_S)


def predictions(rest: str, place: str) -> list[list[float]]:
    answer = requests.post(
        f"{rest}/v1/models/{place}:predict", json={"instances": [[1.0, 2.0], [5.0, 6.0]]}, timeout=20
    )
    assert answer.status_code == 200, answer.text
    return [row["y"] for row in answer.json()["predictions"]]


def test_one_model_by_its_name_in_the_environment(base: Path):
    with up(BY_NAME, base) as (rest, channel):
        over_grpc = call(channel, "Predict", predict_request("half", x=np.float32([[4, 6]])), pb.PredictResponse)

        assert predictions(rest, "half") == [[0.5, 1.0], [2.5, 3.0]]
        assert from_proto(over_grpc.outputs["y"]).tolist() == [[2.0, 3.0]]


def test_several_models_by_a_file_with_batching_and_metrics(base: Path):
    with up(BY_FILE, base) as (rest, _):
        assert predictions(rest, "half") == [[0.5, 1.0], [2.5, 3.0]]
        assert predictions(rest, "twice") == [[4.0, 8.0], [20.0, 24.0]]
        assert predictions(rest, "twice/versions/1") == predictions(rest, "twice/labels/stable") == [[2, 4], [10, 12]]
        metrics = requests.get(f"{rest}/monitoring/prometheus/metrics", timeout=20).text

        assert ":tensorflow:serving:request_count" in metrics
        assert ":tensorflow:serving:batching_session" in metrics


def test_the_program_by_its_own_name_with_a_platform_config_file(base: Path):
    with up(BY_PROGRAM, base) as (rest, _):
        assert predictions(rest, "half") == [[0.5, 1.0], [2.5, 3.0]]
        metrics = requests.get(f"{rest}/monitoring/prometheus/metrics", timeout=20).text

        assert 'thread_pool_name="platform_threads"' in metrics  # batched, as the file says


def test_a_platform_config_file_that_is_none_ends_the_start(base: Path):
    (base / "models/platform.config").write_text("max_batch_size { value: 128 }")

    with pytest.raises(AssertionError, match=r"platform\.config:1:1.*PlatformConfigMap"), up(BY_PROGRAM, base):
        pass


@pytest.mark.parametrize("script", ["tf_serving_entrypoint.sh", "tensorflow_model_server"])
def test_the_image_has_both_programs(script: str):
    assert os.access(FOLDER / script, os.X_OK)
    assert f"/app/services/model_server/{script}" in (FOLDER / "Dockerfile").read_text()
