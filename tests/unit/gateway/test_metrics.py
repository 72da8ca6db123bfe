"""Counts of calls by a model's name: of this process, or of all workers of a gateway."""

import os
import subprocess
import sys
from pathlib import Path

from services.gateway.metrics import MULTIPROCESS, Counted, Metrics

ROOT = Path(__file__).parents[3]


def test_calls_that_went_well_and_calls_that_failed_are_counted_apart():
    metrics = Metrics()
    metrics.inferred("digits", 3, 0.5)
    metrics.inferred("digits", 4, 0.25)
    metrics.inference_failed("digits", 0.125)

    assert metrics.inferences("digits") == Counted(calls=2, images=7, total_s=0.75, failures=1, failed_s=0.125)
    assert metrics.inferences("denoiser") == Counted(calls=0, images=0, total_s=0.0, failures=0, failed_s=0.0)


def test_all_workers_are_counted_together(tmp_path: Path):
    code = (
        "from services.gateway.metrics import Metrics; metrics = Metrics(); metrics.inferred('digits', 3, 0.5);"
        " print(metrics.inferences('digits').images)"
    )
    environ = {**os.environ, MULTIPROCESS: str(tmp_path)}
    said = [
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environ, check=True, capture_output=True, text=True)
        for _ in range(2)
    ]

    assert [each.stdout.strip() for each in said] == ["3", "6"]
