"""Memory, descriptors and threads of every service under load, to find what keeps growing."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psutil

MIB = 1 << 20
SERVICES = ("services.gateway", "services.model_server", "tensorflow_model_server")
MOST_GROWTH = {"memory_mib": (0.10, 20.0), "descriptors": (0.10, 10.0), "threads": (0.10, 6.0)}


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment."""

    seconds: float
    memory_mib: float
    descriptors: int
    threads: int


Series = dict[str, list[Sample]]  # by process, as in "gateway 4711"


def growth(series: Series) -> list[str]:
    """What grew between the second quarter of a run and its last: by more than a tenth and more than a handful."""
    found = []
    for name, samples in series.items():
        if len(samples) < 8:
            found.append(
                f"{name} was seen only {len(samples)} times: it ended or was restarted, or the run was too short"
            )
            continue
        quarter = len(samples) // 4
        for what, (share, amount) in MOST_GROWTH.items():
            before = statistics.median(getattr(sample, what) for sample in samples[quarter : 2 * quarter])
            after = statistics.median(getattr(sample, what) for sample in samples[-quarter:])
            if after - before > max(share * before, amount):
                found.append(f"{name}: {what} grew from {before:g} to {after:g}")
    return found


def service_processes(port: int, pids: Sequence[int] = ()) -> list[psutil.Process]:
    """The stack behind `port` with all its children: the given processes, or who listens there and whom it talks to.

    Where that cannot be seen (a gateway in a container, a Unix socket), every process of a service on this machine.
    """
    roots = (
        [psutil.Process(pid) for pid in pids]
        or _behind(port)
        or [each for each in psutil.process_iter() if _service(each)]
    )
    family = {process.pid: process for root in roots for process in (root, *root.children(recursive=True))}
    return list(family.values())


def _behind(port: int) -> list[psutil.Process]:
    """The gateway listening on `port` and the model servers it is connected to; nothing if either cannot be found."""
    services = [process for process in psutil.process_iter() if _service(process)]
    gateways = [process for process in services if port in _ports(process, psutil.CONN_LISTEN)]
    called = {remote for gateway in gateways for remote in _ports(gateway, psutil.CONN_ESTABLISHED)}
    servers = [each for each in services if each not in gateways and called & _ports(each, psutil.CONN_LISTEN)]
    return gateways + servers if gateways and servers else []


def _ports(process: psutil.Process, status: str) -> set[int]:
    """Ports it listens on, or ports elsewhere that it is connected to."""
    try:
        found = [each for each in process.net_connections("tcp") if each.status == status]
    except psutil.Error:
        return set()  # it ended just now, or belongs to another user
    return {each.laddr.port if status == psutil.CONN_LISTEN else each.raddr.port for each in found}


class Watch:
    """Samples processes from a thread of its own, between `start` and `stop`."""

    def __init__(self, processes: Iterable[psutil.Process], *, every_s: float = 1.0) -> None:
        self._processes = {f"{_name(process)} {process.pid}": process for process in processes}
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.series: Series = {name: [] for name in self._processes}
        self.lost: list[str] = []

    def start(self) -> None:
        """Begin to sample."""
        self._thread.start()

    def stop(self) -> None:
        """End it; `series` and `lost` are complete afterwards."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        started = time.monotonic()
        while not self._ended.is_set():
            for name, process in list(self._processes.items()):
                try:
                    with process.oneshot():
                        if process.status() == psutil.STATUS_ZOMBIE:
                            raise psutil.NoSuchProcess(process.pid)
                        self.series[name].append(
                            Sample(
                                time.monotonic() - started,
                                process.memory_info().rss / MIB,
                                process.num_fds(),
                                process.num_threads(),
                            )
                        )
                except psutil.NoSuchProcess:
                    self.lost.append(name)
                    del self._processes[name]
            self._ended.wait(self._every_s)


def _service(process: psutil.Process) -> bool:
    try:
        command = process.cmdline()
    except psutil.Error:
        return False
    return any(part in SERVICES or part.endswith("/tensorflow_model_server") for part in command)


def _name(process: psutil.Process) -> str:
    """`gateway`, `denoiser`, ...: the model it serves, or its module's last name."""
    command = process.cmdline()
    models = [part.split("=", 1)[1] for part in command if part.startswith("--model_name=")]
    modules = [part.rsplit(".", 1)[-1] for part in command if part.startswith("services.")]
    return (models or modules or [process.name()])[0]
