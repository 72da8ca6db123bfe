"""What the processes that make batches load: each has to start in a second, and hold no network."""

import subprocess
import sys

import pytest

LOADED = "import sys, {module}; print(*sorted({{'keras', 'tensorflow', 'jax', 'onnxruntime'}} & sys.modules.keys()))"


@pytest.mark.parametrize("module", ["training.data.feed", "training.__main__"])  # `spawn` imports both in each of them
def test_a_maker_of_batches_loads_no_framework(module):
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(module=module)], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == ""
