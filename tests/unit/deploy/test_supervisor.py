"""What `make` says when supervisord, or the reader of its own words, has gone away."""

import errno
import os
import socket
import subprocess
import sys
import xmlrpc.client

import pytest

from deploy.stack import supervisor
from deploy.stack.errors import StackError
from deploy.stack.settings import ROOT


def test_without_a_supervisord_there_are_no_processes(tmp_path):
    assert supervisor.processes(tmp_path / "supervisor.sock") == []


def test_a_supervisord_that_hangs_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "ANSWER_S", 0.1)
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(tmp_path / "supervisor.sock"))
        hanging.listen()

        with pytest.raises(StackError, match="supervisord does not answer"):
            supervisor.processes(tmp_path / "supervisor.sock")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (xmlrpc.client.Fault(6, "SHUTDOWN_STATE"), "supervisord is about to end"),
        (xmlrpc.client.Fault(10, "BAD_NAME: x"), "supervisord refuses: BAD_NAME: x"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "supervisord has ended: Connection refused"),
    ],
)
def test_what_supervisord_refuses_while_it_ends_is_one_line(tmp_path, fault, said):
    with pytest.raises(StackError, match=said), supervisor.connect(tmp_path / "supervisor.sock"):
        raise fault


def test_a_reader_that_stops_reading_is_no_traceback(tmp_path):
    """As in `make status | grep -q ready`."""
    reader, writer = os.pipe()
    os.close(reader)
    finished = subprocess.run(
        [sys.executable, "-m", "deploy.stack", "status"],
        cwd=ROOT,
        env={**os.environ, "CLEARDIGITS_VAR": str(tmp_path), "PATH": ""},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)

    assert finished.returncode == 141
    assert finished.stderr == ""
