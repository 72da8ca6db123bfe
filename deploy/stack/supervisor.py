"""A running supervisord, spoken to over its UNIX socket."""

import http.client
import socket
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.stack.errors import StackError

ANSWER_S = 10  # to a question about processes, which needs no work
_SHUTDOWN_STATE = 6  # supervisor.xmlrpc.Faults


class NoSupervisorError(StackError):
    """Nothing listens on the socket."""


@dataclass(frozen=True, slots=True)
class Process:
    """One supervised process as supervisord sees it."""

    name: str
    state: str  # RUNNING, STARTING, BACKOFF, FATAL, STOPPED, ...
    pid: int  # 0 when it does not run
    uptime_s: int


@contextmanager
def connect(path: Path, *, timeout_s: float = 60) -> Iterator[Any]:
    """supervisord's XML-RPC interface. StackError: it refuses, or has gone, as during another `make down`."""
    try:
        with xmlrpc.client.ServerProxy("http://supervisor", transport=_UnixTransport(path, timeout_s)) as server:
            yield server.supervisor
    except xmlrpc.client.Fault as exc:
        ends = exc.faultCode == _SHUTDOWN_STATE
        raise StackError("supervisord is about to end" if ends else f"supervisord refuses: {exc.faultString}") from exc
    except TimeoutError as exc:
        raise StackError(
            f"supervisord does not answer on {path}: kill -KILL the process in CLEARDIGITS_VAR's supervisord.pid, "
            "then make down"
        ) from exc
    except OSError as exc:
        raise NoSupervisorError(f"supervisord has ended: {exc.strerror or exc}") from exc


def processes(path: Path) -> list[Process]:
    """All of them, or an empty list when no supervisord listens. StackError: one does, and does not answer."""
    try:
        with connect(path, timeout_s=ANSWER_S) as interface:
            infos = interface.getAllProcessInfo()
    except NoSupervisorError:
        return []
    return [
        Process(info["name"], info["statename"], info["pid"], max(0, info["now"] - info["start"]) if info["pid"] else 0)
        for info in infos
    ]


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__()
        self._path = path
        self._timeout_s = timeout_s

    def make_connection(self, host: tuple[str, dict[str, str]] | str) -> http.client.HTTPConnection:
        self.close()  # each call has one of its own; a failed one is closed by the base class, which looks here for it
        connection = _UnixConnection(self._path, self._timeout_s)
        self._connection = host, connection
        return connection


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("supervisor", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(self.timeout)
        try:
            sock.connect(str(self._path))
        except OSError:
            sock.close()
            raise
        self.sock = sock
