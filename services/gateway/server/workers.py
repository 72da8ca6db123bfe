"""Worker processes: started with a listening socket each, replaced when they die, stopped together.

The parent has one thread. It holds the sockets, so that connections wait while a worker is replaced, and it has
imported what workers need: they share that memory, and a new one serves within milliseconds.
"""

import ctypes
import gc
import logging
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_int
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawValue

from services.gateway.admission.rate_limit import Buckets
from services.gateway.config import GatewayConfig
from services.runtime.threads import ONE_THREAD

log = logging.getLogger(__name__)

STOP = (signal.SIGTERM, signal.SIGINT)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_OTHER_DESCRIPTORS = 256  # of a worker besides its clients': model servers, decoders, captures, counts, gRPC
_CALM_S = 1.0  # a worker that lived shorter is not replaced at once
_FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class Shared:
    """Numbers in memory that the parent and all workers see."""

    draining: c_int  # 1 once the gateway begins to stop
    restarts: c_int  # workers that died and were replaced
    buckets: Buckets  # of the rate limit

    @classmethod
    def new(cls) -> "Shared":
        """Nothing yet."""
        return cls(RawValue(c_int, 0), RawValue(c_int, 0), Buckets.new())


def serve(config: GatewayConfig) -> int:
    """Listen until SIGTERM or SIGINT, then finish what is in flight; the exit status."""
    port = config.port
    try:
        sockets = listen(config)
        port = config.grpc_port
        reserved = reserve_grpc(config)
    except OSError as exc:
        log.error("cannot listen", extra={"host": config.host, "port": port, "reason": str(exc)})
        return 1
    _allow_descriptors(config.max_connections)
    signal.pthread_sigmask(signal.SIG_BLOCK, {*STOP, signal.SIGCHLD})  # they are waited for, not handled
    with _shared_counts(config):
        load()
        _Supervisor(config, sockets, reserved).run()
    log.info("stopped")
    return 0


def listen(config: GatewayConfig) -> list[socket.socket]:
    """A bound socket for each worker; OSError when the address is not ours or the port is used."""
    family, _, _, _, address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
    sockets = [_bound(family, address)]  # without SO_REUSEPORT: fails where another gateway listens
    if config.workers > 1:  # the kernel spreads connections over sockets that share a port
        address = sockets.pop().getsockname()  # still the address: port 0 has become a number
        sockets = [_bound(family, address, shared=True) for _ in range(config.workers)]
    return sockets


def reserve_grpc(config: GatewayConfig) -> socket.socket | None:
    """The address for gRPC, if there is to be one, held by a socket that does not listen: gRPC opens its own."""
    if not config.grpc_port:
        return None
    family, _, _, _, address = socket.getaddrinfo(config.host, config.grpc_port, type=socket.SOCK_STREAM)[0]
    _bound(family, address).close()  # fails where another program listens
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _bound(family: socket.AddressFamily, address: tuple[object, ...], *, shared: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
        sock.listen()  # binding alone is allowed twice, with SO_REUSEADDR
    except OSError:
        sock.close()
        raise
    return sock


def _allow_descriptors(connections: int) -> None:
    """Raise the limit of open files to what the connections need, as far as the operator lets us.

    Login shells and systemd start programs with 1,024: connections beyond it would be closed without an answer, and
    without a line in the log.
    """
    wanted = connections + _OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not 0 <= soft < wanted:  # unlimited is -1
        return
    allowed = wanted if hard < 0 else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning(
            "the limit of open files is too low for so many connections",
            extra={"limit": allowed, "needed": wanted, "max_connections": connections},
        )


def load() -> None:
    """Import what every worker needs, but what starts threads: gRPC and tracing, which a worker imports itself.

    A stack with two workers takes 234 MB; it took 300 when each worker and its decoders imported for themselves.
    """
    os.environ.update(ONE_THREAD)  # else importing numpy starts threads, which no fork copies
    import services.gateway.server.worker  # noqa: F401
    from services.core.images import quiet_codecs
    from services.gateway.api.tasks import warm_up

    quiet_codecs()
    warm_up()
    gc.collect()
    gc.freeze()  # a collection in a worker would write to every page that it shares


class _Supervisor:
    """Starts a worker for each socket and waits for signals."""

    def __init__(self, config: GatewayConfig, sockets: list[socket.socket], reserved: socket.socket | None) -> None:
        self._config = config
        self._sockets = sockets
        self._reserved = reserved
        self._shared = Shared.new()
        self._workers: list[BaseProcess | None] = [None] * len(sockets)
        self._started_s = [0.0] * len(sockets)

    def run(self) -> None:
        """Until all workers have ended after a signal to stop."""
        for place in range(len(self._sockets)):
            self._start(place)
        host, port = self._sockets[0].getsockname()[:2]
        listening = {"host": host, "port": port, "workers": len(self._sockets)}
        if self._reserved is not None:
            listening["grpc_port"] = self._config.grpc_port
        log.info("listening", extra=listening)
        self._watch()
        self._drain()
        self._stop()

    def _start(self, place: int) -> None:
        grpc_address = None if self._reserved is None else self._reserved.getsockname()[:2]
        worker = _FORK.Process(
            target=_work,
            args=(self._config, self._sockets, place, self._shared, os.getpid(), grpc_address),
            name=f"worker-{place}",
        )
        worker.start()
        self._workers[place] = worker
        self._started_s[place] = time.monotonic()

    def _watch(self) -> None:
        """Replace workers that end, until a signal says stop."""
        while True:
            found = signal.sigtimedwait({*STOP, signal.SIGCHLD}, _CALM_S)
            if found is not None and found.si_signo in STOP:
                return
            for place, worker in enumerate(self._workers):
                if worker is not None and not worker.is_alive():
                    log.error("a worker died", extra={"pid": worker.pid, "exit_code": worker.exitcode})
                    self._shared.restarts.value += 1
                    self._workers[place] = None
                if self._workers[place] is None and time.monotonic() - self._started_s[place] >= _CALM_S:
                    self._start(place)

    def _drain(self) -> None:
        """Not ready from now on; a second signal, or the end of `drain_s`, goes on to stopping."""
        self._shared.draining.value = 1
        ends = time.monotonic() + self._config.drain_s
        while (left := ends - time.monotonic()) > 0:
            found = signal.sigtimedwait({*STOP, signal.SIGCHLD}, left)
            if found is not None and found.si_signo in STOP:
                return

    def _stop(self) -> None:
        for sock in (*self._sockets, *([self._reserved] if self._reserved else [])):
            sock.close()
        living = [worker for worker in self._workers if worker is not None]
        for worker in living:
            worker.terminate()
        ends = time.monotonic() + self._config.shutdown_grace_s + 1.0
        for worker in living:
            worker.join(max(0.0, ends - time.monotonic()))
            if worker.is_alive():
                log.error("a worker did not stop in time", extra={"pid": worker.pid})
                worker.kill()
                worker.join()


def _work(
    config: GatewayConfig,
    sockets: list[socket.socket],
    place: int,
    shared: Shared,
    parent: int,
    grpc_address: tuple[str, int] | None,
) -> None:
    """Runs in each worker, so that no channel is made before the fork."""
    for number in STOP:  # until the worker's loop handles them: the parent's mask would hold them back
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {*STOP, signal.SIGCHLD})
    end_with(parent)
    for other, sock in enumerate(sockets):
        if other != place:
            sock.close()
    from services.gateway.server.worker import run

    run(config, sockets[place], shared, grpc_address)


def end_with(parent: int) -> None:
    """End this process when its parent is killed: else it would go on listening beside the next one's workers."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # killed before the line above
            os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _shared_counts(config: GatewayConfig) -> Iterator[None]:
    """A folder where several workers keep their counts, so that any of them can answer /metrics for all."""
    if config.workers == 1:
        yield
        return
    folder = tempfile.mkdtemp(prefix="cleardigits-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # where prometheus-client looks for it, in each worker
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
