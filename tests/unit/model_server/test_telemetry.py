"""No part of a service calls home: ONNX Runtime's usage data stays off, as its missing folder shows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.stack import MODELS, ROOT, SHIPPED

LOAD = "import {module}, onnxruntime, sys; onnxruntime.InferenceSession(sys.argv[1])"


@pytest.mark.parametrize(
    "module", ["services.model_server.engines.onnx", "services.evaluator.in_process", "training.export.versions"]
)
def test_onnx_runtime_keeps_nothing_for_its_makers(module: str, tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    model = MODELS / "classifier" / str(SHIPPED) / "model.onnx"

    subprocess.run(
        [sys.executable, "-c", LOAD.format(module=module), str(model)],
        cwd=ROOT, env={**environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        check=True, timeout=60,
    )  # fmt: skip

    assert list(tmp_path.rglob("*Microsoft*")) == []
