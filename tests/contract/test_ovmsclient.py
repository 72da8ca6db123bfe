"""ovmsclient, an unrelated project's client for this protocol, cannot tell the difference.

It is no longer developed, and a good witness all the same: the protocol has not changed since, and it was written
without this server in mind. What is new in TensorFlow Serving it cannot ask for; tests/conformance does.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.model_server import CALL_S, model_server, write_scale_model

SESSION = Path(__file__).parents[1] / "support" / "ovmsclient_session.py"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    base = tmp_path_factory.mktemp("models") / "scale"
    write_scale_model(base, 4)
    with model_server(model_name="scale", model_base_path=str(base)) as running:
        done = subprocess.run(
            [sys.executable, SESSION, f"127.0.0.1:{running.server.grpc_port}", running.rest.removeprefix("http://")],
            capture_output=True,
            text=True,
            timeout=3 * CALL_S,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_its_calls_are_answered(report, kind):
    session = report[kind]

    assert session["answer"] == {"y": [[2.0, 4.0], [6.0, 8.0]], "sum": [3.0, 7.0]}
    assert session["status"] == {"4": "AVAILABLE"}
    assert "Could not find any versions of model nobody" in session["refused"]


def test_it_reads_the_signature(report):
    assert report["metadata"] == {"version": 4, "shape": [-1, 2]}
