"""The gateway with both models inside, which `make bench` compares: nothing of it stays behind."""

import os
import subprocess
import sys

import psutil

from deploy.stack.chain import wait_until
from tests.support.stack import free_port

ENDS_S = 60.0


def test_its_workers_end_with_a_parent_that_is_killed_while_they_start():
    settings = {"CLEARDIGITS_GATEWAY_PORT": str(free_port()), "CLEARDIGITS_GATEWAY_WORKERS": "2"}
    command = [sys.executable, "-m", "tests.bench.gateway.embedded"]
    with subprocess.Popen(command, env=os.environ | settings, stderr=subprocess.DEVNULL) as parent:
        assert wait_until(lambda: len(_workers(parent.pid)) == 2, timeout_s=ENDS_S, every_s=0.01)
        workers = _workers(parent.pid)
        parent.kill()

    _, left = psutil.wait_procs(workers, timeout=ENDS_S)
    for process in left:
        process.kill()

    assert left == []


def _workers(pid: int) -> list[psutil.Process]:
    return [each for each in psutil.Process(pid).children() if _is_worker(each)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False
