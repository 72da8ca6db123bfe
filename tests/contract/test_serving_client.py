"""The light client against the model server, in a process that has loaded tensorflow-serving-api too."""

import re
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2  # the descriptors of both are in this process

from services.serving_client import ServingClient
from tests.support.model_server import model_server, write_scale_model

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    base = tmp_path_factory.mktemp("models") / "scale"
    for version in (1, 2):
        write_scale_model(base, version, factor=float(version))
    config = base.parent / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "scale" base_path: "{base}" model_platform: "tensorflow" '
        'model_version_policy { all {} } version_labels { key: "old" value: 1 } } }'
    )
    with model_server(model_config_file=str(config)) as running:
        yield f"127.0.0.1:{running.server.grpc_port}"


def test_predict_by_version_label_and_output(address):
    x = np.float32([[1, 2]])
    with ServingClient(address) as client:
        latest = client.predict("scale", {"x": x})
        old = client.predict("scale", {"x": x}, label="old")
        first = client.predict("scale", {"x": x}, version=1, outputs=["sum"])

    assert latest["y"].tolist() == [[2.0, 4.0]]
    assert old["y"].tolist() == [[1.0, 2.0]]
    assert {name: array.tolist() for name, array in first.items()} == {"sum": [3.0]}


def test_versions_and_failures_are_the_servers(address):
    with ServingClient(address) as client:
        assert client.versions("scale") == {1: "AVAILABLE", 2: "AVAILABLE"}
        with pytest.raises(grpc.RpcError) as raised:
            client.predict("scale", {"x": np.float32([[1, 2]])}, version=9)

    assert raised.value.code() == grpc.StatusCode.NOT_FOUND
    assert raised.value.details() == "Servable not found for request: Specific(scale, 9)"


def test_it_works_beside_tensorflow_serving_api(address):
    with ServingClient(address) as client:
        answer = client.predict("scale", {"x": np.float32([[1, 2]])})

    assert predict_pb2.PredictRequest.DESCRIPTOR.full_name == "tensorflow.serving.PredictRequest"
    assert answer["sum"].tolist() == [3.0]


def test_it_imports_no_tensorflow_and_little_more_than_its_libraries():
    def cpu_of(imports: str) -> tuple[float, bool]:
        script = (
            f"import time, sys; before = time.process_time(); import {imports};"
            "print(time.process_time() - before, 'tensorflow' in sys.modules)"
        )
        seconds, loaded = subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True).split()
        return float(seconds), loaded == "True"

    ours, libraries = "services.serving_client", "grpc, numpy, google.protobuf.message"
    pairs = [(cpu_of(ours), cpu_of(libraries)) for _ in range(3)]

    assert not any(loaded for (_, loaded), _ in pairs)
    assert min(own[0] / beside[0] for own, beside in pairs) < 1.6


def test_the_lines_of_the_readme_run(address):
    text = (ROOT / "protos/README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.+?)```", text, re.DOTALL)[1]

    assert len(code.strip().splitlines()) <= 10
    names = {}
    exec(code.replace("localhost:8500", address), names)

    assert names["answer"]["y"].shape == (3, 2)
