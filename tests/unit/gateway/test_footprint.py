"""What the gateway may cost before it serves: no TensorFlow, no slow start, no threads before the fork."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
BUILT_ON = {
    "services",
    *("flask", "werkzeug", "jinja2", "markupsafe", "blinker", "click", "itsdangerous"),
    *("cv2", "google", "numpy", "orjson", "prometheus_client"),
}


def run(code: str) -> str:
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return finished.stdout.strip()


def test_the_gateway_never_imports_tensorflow():
    loaded = run("import sys, services.gateway.server.http; print(*sys.modules)").split()

    assert not {"tensorflow", "keras", "onnxruntime", "opentelemetry"} & set(loaded)
    assert "cv2" in loaded  # so that was the whole gateway


def test_the_application_imports_no_package_beyond_those_it_is_built_on():
    code = "import sys; at_start = set(sys.modules); import services.gateway.app; print(*set(sys.modules) - at_start)"
    loaded = {name.partition(".")[0] for name in run(code).split()}

    assert loaded - set(sys.stdlib_module_names) <= BUILT_ON
    assert loaded >= {"cv2", "flask", "services"}


def test_importing_our_own_modules_costs_about_as_much_as_the_libraries():
    """A ratio of CPU times of one process (0.7 to 0.9 measured), so a slow host changes nothing. The best of three."""
    code = """
import time
start = time.process_time()
import cv2, flask, google.protobuf.message, numpy, orjson, prometheus_client
libraries = time.process_time()
import services.gateway.app
print((time.process_time() - libraries) / (libraries - start))
"""

    assert min(float(run(code)) for _ in range(3)) < 1.2


def test_damaged_files_leave_nothing_of_opencv_in_the_log():
    code = """
import cv2
import numpy
from services.gateway.server.workers import load
load()
png = cv2.imencode(".png", numpy.zeros((40, 40), numpy.uint8))[1][:60]
tiff = cv2.imencode(".tif", numpy.zeros((40, 40, 3), numpy.uint8))[1][:200]
assert cv2.imdecode(png, cv2.IMREAD_UNCHANGED) is None and cv2.imdecode(tiff, cv2.IMREAD_UNCHANGED) is None
"""
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert finished.stderr == ""


def test_reading_the_first_picture_imports_nothing_more():
    """Each decoder would import it again, in its first request."""
    code = """
import math
import sys
from dataclasses import asdict
from pathlib import Path
from services.gateway.server.workers import load
load()
from services.gateway.api.tasks import TASKS
from services.gateway.decoding.process import Allowance
from services.gateway.limits import Limits
loaded = set(sys.modules)
asked = {"limits": asdict(Limits()), "encoding": "", "content_type": "image/png", "query": {}}
for task, name in (("recognize", "number-1112-touching"), ("recognize", "noisy-7"), ("read", "number-244947-form")):
    TASKS[task]([Path(f"docs/samples/{name}.png").read_bytes()], asked, Allowance(math.inf))
print(*set(sys.modules) - loaded)
"""
    assert run(code) == ""


def test_the_process_that_forks_the_workers_has_one_thread_and_no_grpc():
    """It has imported what workers share; what starts threads would not survive the fork."""
    code = """
import sys
from pathlib import Path
from services.gateway.server.workers import load
load()
print(len(list(Path("/proc/self/task").iterdir())), *sys.modules)
"""
    threads, *loaded = run(code).split()

    assert threads == "1"
    assert not {"grpc", "opentelemetry"} & set(loaded)
    assert {"cv2", "services.gateway.server.worker", "services.gateway.api.tasks"} <= set(loaded)
