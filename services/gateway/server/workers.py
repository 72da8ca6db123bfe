"""Worker processes, and how they stop: granian, told what the settings say."""

import ctypes
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from functools import partial

from granian.constants import Interfaces, Loops
from granian.log import LogLevels
from granian.server import Server as Granian

from services.gateway.config import GatewayConfig

log = logging.getLogger(__name__)

_STOP = {signal.SIGTERM, signal.SIGINT}
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_TO_THE_ROOT_LOGGER = {"formatters": {}, "handlers": {}, "loggers": {"_granian": {"propagate": True}}}


def serve(config: GatewayConfig) -> int:
    """Listen until SIGTERM or SIGINT, then finish what is in flight; the exit status."""
    # Memory shared with the workers: set when the gateway begins to stop, and counted up when a worker died.
    draining = multiprocessing.RawValue("b", 0)
    restarts = multiprocessing.RawValue("I", 0)
    try:
        _try_to_listen(config)
    except OSError as exc:
        log.error("cannot listen", extra={"host": config.host, "port": config.port, "reason": str(exc)})
        return 1
    granian = _DrainingServer(config, draining, restarts)
    counts = _share_counts() if config.workers > 1 else None
    try:
        granian.serve(target_loader=partial(_load, config, draining, restarts, os.getpid()))
    finally:
        for number in _STOP:  # all is done: one more signal while the interpreter ends must not change the exit status
            signal.signal(number, signal.SIG_IGN)
        if counts is not None:
            shutil.rmtree(counts, ignore_errors=True)
    log.info("stopped")
    return 0


def _try_to_listen(config: GatewayConfig) -> None:
    """OSError where granian would end in a panic of its Rust part: a bad address, a port that others use."""
    family, kind, _, _, address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as granian does, so that workers can share it
        trial.bind(address)


def _load(
    config: GatewayConfig,
    draining: "multiprocessing.RawValue[int]",
    restarts: "multiprocessing.RawValue[int]",
    parent: int,
    _target: str,
) -> object:
    """Runs in each worker, so that nothing heavy is imported, and no channel made, before the fork."""
    for number in _STOP:  # until granian sets its own handlers: the parent's would only note the wish
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP)
    _end_with(parent)
    from services.gateway.server.http import Server

    return Server(config, draining=lambda: bool(draining.value), worker_restarts=restarts.value)


def _end_with(parent: int) -> None:
    """End this worker when its parent is killed: else it would go on listening beside the next one's workers."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # killed before the line above
            os.kill(os.getpid(), signal.SIGTERM)


class _DrainingServer(Granian):
    """Granian that lets load balancers see /readyz fail before it closes the port."""

    def __init__(
        self,
        config: GatewayConfig,
        draining: "multiprocessing.RawValue[int]",
        restarts: "multiprocessing.RawValue[int]",
    ) -> None:
        super().__init__(
            "services.gateway",
            address=config.host,
            port=config.port,
            workers=config.workers,
            interface=Interfaces.RSGI,
            loop=Loops.auto,  # uvloop: an eighth less CPU for a request than asyncio's own loop
            websockets=False,
            backlog=2048,
            respawn_failed_workers=True,
            workers_kill_timeout=max(1, round(config.shutdown_grace_s)),
            log_level=LogLevels.warning,
            log_dictconfig=_TO_THE_ROOT_LOGGER,
        )
        self._config = config
        self._draining = draining
        self._restarts = restarts
        self.on_startup(self._say_where)

    def _spawn_workers(self, *args: object) -> None:
        """Hold signals back while forking, so that one meant for a worker that has no handler yet is not lost."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
        try:
            super()._spawn_workers(*args)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _respawn_workers(self, workers: list[int], *args: object, **kwargs: object) -> None:
        """Count before the new ones start: they show the number at /metrics, where nothing else tells of the death."""
        self._restarts.value += len(workers)
        log.error("worker died", extra={"workers": len(workers), "restarts": self._restarts.value})
        super()._respawn_workers(workers, *args, **kwargs)

    def _say_where(self) -> None:
        log.info("listening", extra={"host": self.bind_addr, "port": self.bind_port, "workers": self.workers})

    def signal_handler_interrupt(self, *args: object, **kwargs: object) -> None:
        """Not ready from now on; a second signal, or the end of `drain_s`, stops the workers."""
        if self._config.drain_s and not self._draining.value:
            self._draining.value = 1
            timer = threading.Timer(self._config.drain_s, super().signal_handler_interrupt)
            timer.daemon = True
            timer.start()
        else:
            self._draining.value = 1
            super().signal_handler_interrupt()


def _share_counts() -> str:
    """A folder where the workers keep their counts, so that any of them can answer /metrics for all."""
    folder = tempfile.mkdtemp(prefix="cleardigits-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # where prometheus-client looks for it, in each worker
    return folder
