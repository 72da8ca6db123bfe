"""What the gateway may cost before it serves: no TensorFlow, no slow start, nothing heavy before the fork."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def run(code: str) -> str:
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return finished.stdout.strip()


def test_the_gateway_never_imports_tensorflow():
    loaded = run("import sys, services.gateway.server.http; print(*sys.modules)").split()

    assert not {"tensorflow", "keras", "onnxruntime", "opentelemetry"} & set(loaded)
    assert "cv2" in loaded  # so that was the whole gateway


def test_importing_the_application_takes_well_under_a_second():
    """CPU time, and the best of three: a busy machine must not fail it."""
    code = "import time; import services.gateway.app; print(time.process_time())"

    assert min(float(run(code)) for _ in range(3)) < 1.0


def test_the_process_that_forks_the_workers_stays_light():
    loaded = run("import sys, services.gateway.server.workers; print(*sys.modules)").split()

    assert not {"grpc", "cv2", "flask", "numpy", "prometheus_client"} & set(loaded)
