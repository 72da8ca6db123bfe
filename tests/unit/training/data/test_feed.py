"""The processes that make batches: each starts in a second, holds no network, and leaves Ctrl-C to the trainer."""

import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

from tests.support.digits import synthetic_mnist
from training.data.batches import BatchMaker, NoiseMix
from training.data.dataset import split
from training.data.feed import Feed

LOADED = "import sys, {module}; print(*sorted({{'keras', 'tensorflow', 'jax', 'onnxruntime'}} & sys.modules.keys()))"


@pytest.mark.parametrize("module", ["training.data.feed", "training.__main__"])  # `spawn` imports both in each of them
def test_a_maker_of_batches_loads_no_framework(module):
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(module=module)], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == ""


def test_ctrl_c_of_a_terminal_reaches_the_trainer_alone(capfd):
    maker = BatchMaker(split(synthetic_mnist(train=40, test=4), validation=8, seed=0).train, NoiseMix(), 8, seed=0)

    with Feed(maker, first_epoch=0, epochs=9, makers=1) as feed:
        batches = feed.epoch()
        next(batches)
        (process,) = multiprocessing.active_children()
        os.kill(process.pid, signal.SIGINT)
        assert len(list(batches)) == maker.steps - 1
        assert len(list(feed.epoch())) == maker.steps
        assert len(list(feed.epoch())) == maker.steps  # more than was ready

    assert "KeyboardInterrupt" not in capfd.readouterr().err
