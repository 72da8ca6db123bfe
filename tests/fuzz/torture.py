"""Break a stack in every way an operator may meet, beside clients that expect promised answers: `make torture`.

Each hardship lasts some seconds, those of versions two minutes; four clients ask for digits all the while. They must
see promised codes only, right digits, and, where no part is away, a p99 below a second; probes must be answered at
once; afterwards every part must have recovered by itself. A killed model server is started again by us, as its
supervisor would. Loopback only; exit status 1 when anything was found.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psutil
import requests

from tests.fuzz.__main__ import pss_mb
from tests.support.stack import MODELS, ROOT, Child, Stack, running_stack

SAMPLE = (ROOT / "docs/samples/noisy-7.png").read_bytes()
P99_S = 1.0
PROBE_S = 0.1  # the median of /healthz and /readyz, on a machine that has other things to do as well
WORKERS = 2
WORKER_MB = 800  # of each worker with its decoders, as docs/OPERATIONS.md has it
_LARGEST = 20_000  # images in a request
AWAY = {200, 503, 504}  # while a part is away
_HEAD = b"POST /v1/recognize HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\n"


class Watching(Protocol):
    """Works until `stop` is set."""

    stop: threading.Event

    def run(self) -> None: ...


@contextmanager
def beside(watching: Watching, threads: int = 1) -> Iterator[None]:
    """`run` in threads while the block runs."""
    running = [threading.Thread(target=watching.run) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        watching.stop.set()
        for thread in running:
            thread.join()


@dataclass
class Clients:
    """Ask until told to stop, each on connections of its own."""

    url: str
    statuses: Counter[str] = field(default_factory=Counter)
    took_s: list[float] = field(default_factory=list)
    wrong: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def p99_s(self) -> float:
        """Of the answers with 200."""
        return sorted(self.took_s)[int(0.99 * len(self.took_s))] if self.took_s else float("inf")

    def run(self) -> None:
        """One client."""
        while not self.stop.is_set():
            started_s = time.monotonic()
            try:
                answer = requests.post(
                    f"{self.url}/v1/recognize", data=SAMPLE, headers={"Content-Type": "image/png"}, timeout=10
                )
            except requests.ConnectionError:
                self.statuses["refused"] += 1
                time.sleep(0.05)
                continue
            except requests.Timeout:
                self.statuses["no answer"] += 1
                continue
            self.statuses[str(answer.status_code)] += 1
            if answer.status_code == 200:
                self.took_s.append(time.monotonic() - started_s)
                self.wrong += answer.json()["results"][0]["digit"] != 7
            time.sleep(0.005)


@dataclass
class Probes:
    """Ask /healthz and /readyz in turn, ten times a second, each on a connection of its own, as kubelet does."""

    url: str
    took_s: list[float] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def quantile_s(self, share: float) -> float:
        """Of all that were asked, answered or not."""
        return sorted(self.took_s)[int(share * (len(self.took_s) - 1))]

    def run(self) -> None:
        """One prober."""
        host, port = self.url.removeprefix("http://").split(":")
        for path in itertools.cycle(("/healthz", "/readyz")):
            started_s = time.monotonic()
            connection = http.client.HTTPConnection(host, int(port), timeout=10)
            with closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
                connection.request("GET", path)
                connection.getresponse().read()
            self.took_s.append(time.monotonic() - started_s)
            if self.stop.wait(0.1):
                return


@dataclass
class Peak:
    """The most memory that the gateway, its workers and their decoders took; shared pages count once (PSS)."""

    pid: int
    mb: float = 0.0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Look ten times a second."""
        while not self.stop.wait(0.1):
            self.mb = max(self.mb, pss_mb(self.pid))


@dataclass(frozen=True)
class Hardship:
    """What is done, and what clients may see meanwhile."""

    name: str
    inflict: Callable[[Stack, float], None]
    allowed: frozenset[str]
    keeps_pace: bool  # whether the p99 counts
    probed: bool = True  # whether the time of probes counts
    at_least_s: float = 0.0


def main(argv: Sequence[str] | None = None) -> int:
    """One hardship after another."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.torture", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="of each hardship (default 10; those of versions take 100 and 120)"
    )
    parser.add_argument("--connections", type=int, default=10_000, help="of a flood (default 10000)")
    parser.add_argument("--only", default="", help="hardships whose name holds this")
    chosen = parser.parse_args(argv)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    flood = min(chosen.connections, hard - 200)
    findings: list[str] = []
    with ExitStack() as ends:
        models = Path(ends.enter_context(tempfile.TemporaryDirectory())) / "models"
        shutil.copytree(MODELS, models)
        lanes = Path(ends.enter_context(tempfile.TemporaryDirectory()))
        settings = {"WORKERS": str(WORKERS), "HEADER_TIMEOUT_S": "2"}
        stack = ends.enter_context(running_stack(models, settings, lanes=lanes))
        for hardship in _hardships(flood, models):
            if chosen.only in hardship.name:
                findings += _endure(stack, hardship, chosen.seconds)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print(f"{len(findings)} findings", *findings, sep="\n")
    return 1 if findings else 0


def _endure(stack: Stack, hardship: Hardship, seconds: float) -> list[str]:
    clients = Clients(stack.url)
    peak, probes = Peak(stack.gateway.pid), Probes(stack.url)
    with beside(clients, threads=4), beside(probes), beside(peak):
        time.sleep(0.5)
        hardship.inflict(stack, max(seconds, hardship.at_least_s))
    p99_s = clients.p99_s()
    counted = ", ".join(f"{status} {count}" for status, count in sorted(clients.statuses.items()))
    probe_ms = [1e3 * probes.quantile_s(share) for share in (0.5, 0.95, 1)]
    print(
        f"{hardship.name}: {counted}; p99 {p99_s:.2f} s, peak {peak.mb:.0f} MB; "
        "probes p50 {:.0f}, p95 {:.0f}, max {:.0f} ms".format(*probe_ms),
        flush=True,
    )
    found = [f"{hardship.name}: {status}" for status in clients.statuses if status not in hardship.allowed]
    if peak.mb > WORKERS * WORKER_MB:
        found.append(f"{hardship.name}: the gateway took {peak.mb:.0f} MB")
    if clients.wrong:
        found.append(f"{hardship.name}: {clients.wrong} wrong digits")
    if hardship.keeps_pace and p99_s >= P99_S:
        found.append(f"{hardship.name}: p99 {p99_s:.2f} s")
    if hardship.probed and probe_ms[0] > 1e3 * PROBE_S:
        found.append(f"{hardship.name}: half of the probes took more than {probe_ms[0]:.0f} ms")
    try:
        stack.wait_ready(20.0)
    except AssertionError as exc:
        found.append(f"{hardship.name}: not ready again: {str(exc)[:500]}")
    return found


def _hardships(flood: int, models: Path) -> list[Hardship]:
    fine, away = frozenset({"200", "503"}), frozenset(map(str, AWAY))
    broken = away | {"refused"}  # connections of a worker that is killed end with it
    return [
        Hardship("silent connections", _held(flood, b""), fine, keeps_pace=True),
        Hardship("half heads", _held(flood // 4, b"GET /v1/recognize HTTP/1.1\r\nhost:"), fine, keeps_pace=True),
        Hardship("bodies that stall", _held(500, _HEAD + b"content-length: 9000\r\n\r\nabc"), fine, keeps_pace=True),
        Hardship("answers never read", _never_read, fine, keeps_pace=True),
        Hardship("the largest bodies", _largest_bodies, fine | {"504"}, keeps_pace=False),
        Hardship("a worker killed", _kill_a_worker, broken, keeps_pace=False, probed=False),
        Hardship("a worker frozen", _freeze_a_worker, broken | {"no answer"}, keeps_pace=False, probed=False),
        Hardship("the denoiser killed", _kill("denoiser"), away, keeps_pace=False),
        Hardship("the classifier killed", _kill("classifier"), away, keeps_pace=False),
        Hardship("the denoiser frozen", _freeze("denoiser"), away, keeps_pace=False),
        Hardship("the classifier frozen", _freeze("classifier"), away, keeps_pace=False),
        Hardship(
            "descriptors of the gateway run out", _no_descriptors("gateway"), broken, keeps_pace=False, probed=False
        ),
        Hardship("descriptors of the denoiser run out", _no_descriptors("denoiser"), away, keeps_pace=False),
        Hardship("a full disk under the log", _full_disk, fine, keeps_pace=True),
        Hardship("a hundred versions come and go", _versions(models), fine, keeps_pace=True, at_least_s=100),
        Hardship("broken versions come and go", _broken_versions(models), fine, keeps_pace=True, at_least_s=120),
    ]


def _address(stack: Stack) -> tuple[str, int]:
    host, port = stack.url.removeprefix("http://").split(":")
    return host, int(port)


def _held(count: int, sent: bytes) -> Callable[[Stack, float], None]:
    """Connections that send this and nothing more."""

    def inflict(stack: Stack, seconds: float) -> None:
        with ExitStack() as ends:
            until_s = time.monotonic() + seconds
            for _ in range(count):
                connection = ends.enter_context(socket.socket())
                connection.setblocking(False)
                connection.connect_ex(_address(stack))
                if sent:
                    with contextlib.suppress(OSError):  # not connected yet, or closed already: it is silent then
                        connection.send(sent)
                time.sleep(0.0005)
            time.sleep(max(0.0, until_s - time.monotonic()))

    return inflict


def _never_read(stack: Stack, seconds: float) -> None:
    asked = b"GET /openapi.yaml HTTP/1.1\r\nhost: x\r\n\r\n" * 50
    with ExitStack() as ends:
        for _ in range(200):
            connection = ends.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(_address(stack))
            connection.setblocking(False)
            with contextlib.suppress(OSError):  # closed already
                connection.send(asked)
        time.sleep(seconds)


def _largest_bodies(stack: Stack, seconds: float) -> None:
    """As many images as a request may hold, in JSON and as bytes, with all an answer may hold, twelve at a time."""
    row = "[" + ",".join(["200"] * 784) + "]"
    document = ('{"images": [' + ",".join([row] * (_LARGEST // 2)) + "]}").encode()
    octets = bytes(784 * _LARGEST)
    until_s = time.monotonic() + seconds

    def ask(body: bytes, content_type: str, query: str) -> None:
        headers = {"Content-Type": content_type, "Request-Timeout-Ms": "60000"}
        while time.monotonic() < until_s:
            with contextlib.suppress(requests.ConnectionError):  # refused while its body was on its way
                requests.post(f"{stack.url}/v1/recognize{query}", data=body, headers=headers, timeout=70)

    kinds = [
        (document, "application/json", ""),
        (octets, "application/octet-stream", "?denoise=auto"),
        (octets, "application/octet-stream", "?include=denoised,input,probabilities&top_k=10"),
    ]
    threads = [threading.Thread(target=ask, args=kind) for kind in kinds for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _workers(stack: Stack) -> list[psutil.Process]:
    return psutil.Process(stack.gateway.pid).children()


def _kill_a_worker(stack: Stack, seconds: float) -> None:
    _workers(stack)[0].kill()
    time.sleep(seconds)


def _freeze_a_worker(stack: Stack, seconds: float) -> None:
    """Its connections wait; those of the other worker do not."""
    worker = _workers(stack)[0]
    worker.suspend()
    time.sleep(seconds / 2)
    worker.resume()
    time.sleep(seconds / 2)


def _kill(role: str) -> Callable[[Stack, float], None]:
    def inflict(stack: Stack, seconds: float) -> None:
        child: Child = getattr(stack, role)
        child.kill()
        time.sleep(seconds / 2)
        child.start()
        time.sleep(seconds / 2)

    return inflict


def _freeze(role: str) -> Callable[[Stack, float], None]:
    def inflict(stack: Stack, seconds: float) -> None:
        child: Child = getattr(stack, role)
        child.freeze()
        time.sleep(seconds / 2)
        child.thaw()
        time.sleep(seconds / 2)

    return inflict


def _no_descriptors(role: str) -> Callable[[Stack, float], None]:
    """The limit falls to what is open, while connections come; then it is as before."""

    def inflict(stack: Stack, seconds: float) -> None:
        child: Child = getattr(stack, role)
        processes = _workers(stack) if role == "gateway" else [psutil.Process(child.pid)]
        before = {process.pid: process.rlimit(psutil.RLIMIT_NOFILE) for process in processes}
        for process in processes:
            process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + 2, before[process.pid][1]))
        _held(100, b"")(stack, seconds / 2)
        for pid, limit in before.items():
            if psutil.pid_exists(pid):
                psutil.Process(pid).rlimit(psutil.RLIMIT_NOFILE, limit)
        time.sleep(seconds / 2)

    return inflict


def _full_disk(stack: Stack, seconds: float) -> None:
    """Every write to the log's file fails."""
    size = (len(stack.gateway.output().encode()), resource.RLIM_INFINITY)
    for process in _workers(stack):
        process.rlimit(psutil.RLIMIT_FSIZE, size)
    time.sleep(seconds)
    for process in _workers(stack):
        process.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _versions(models: Path) -> Callable[[Stack, float], None]:
    def inflict(_stack: Stack, seconds: float) -> None:
        until_s, number = time.monotonic() + seconds, 100
        while time.monotonic() < until_s or number < 200:
            for name in ("denoiser", "classifier"):
                newest = max((each for each in (models / name).iterdir() if each.name.isdecimal()), key=_number)
                if _number(newest) >= 100:
                    shutil.rmtree(newest)
                _publish(newest if newest.exists() else _original(models / name), models / name / str(number))
            number += 1
            time.sleep(1.0)
        _clear(models)

    return inflict


def _broken_versions(models: Path) -> Callable[[Stack, float], None]:
    def inflict(_stack: Stack, seconds: float) -> None:
        until_s, number = time.monotonic() + seconds, 500
        while time.monotonic() < until_s:
            for name in ("denoiser", "classifier"):
                broken = models / name / str(number)
                broken.mkdir()
                (broken / "model.onnx").write_bytes(os.urandom(1000))
                time.sleep(0.3)
                shutil.rmtree(broken)
            number += 1
        _clear(models)

    return inflict


def _number(version: Path) -> int:
    return int(version.name)


def _original(folder: Path) -> Path:
    return max((each for each in folder.iterdir() if each.name.isdecimal() and _number(each) < 100), key=_number)


def _publish(source: Path, target: Path) -> None:
    """By rename, as versions appear."""
    staged = target.with_name(f".{target.name}")
    shutil.copytree(source, staged)
    staged.rename(target)


def _clear(models: Path) -> None:
    for name in ("denoiser", "classifier"):
        for version in (models / name).iterdir():
            if version.name.isdecimal() and _number(version) >= 100:
                shutil.rmtree(version)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
