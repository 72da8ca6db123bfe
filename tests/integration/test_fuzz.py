"""The fuzzer as a process."""

import signal
import subprocess
import sys

import psutil

from deploy.stack.chain import wait_until
from tests.support.stack import ROOT

SERVERS = 4  # two model servers, the gateway, one whose configuration is damaged


def test_a_run_that_is_ended_leaves_no_server_behind():
    with subprocess.Popen([sys.executable, "-m", "tests.fuzz", "--minutes=5"], cwd=ROOT, stderr=subprocess.PIPE) as run:
        process = psutil.Process(run.pid)
        try:
            assert wait_until(lambda: len(process.children()) >= SERVERS and process.num_threads() > 8, timeout_s=60)
            started = process.children(recursive=True)
            process.send_signal(signal.SIGTERM)
            said = run.communicate(timeout=60)[1]
        finally:
            run.kill()
    _, left = psutil.wait_procs(started, timeout=10)

    assert left == []
    assert run.returncode in (-signal.SIGINT, 130), said
