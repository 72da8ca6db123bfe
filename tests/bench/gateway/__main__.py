"""Measure the gateway: `python -m tests.bench.gateway` (`make bench`). Three minutes, on an idle machine with wrk."""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import requests

from deploy.stack.local import PARTIAL_IN_FLIGHT, WORKERS
from services.core.model_digest import pair
from tests.bench.gateway import floors, report, usage
from tests.bench.gateway.wrk import Load, press
from tests.bench.windows import Server, summary
from tests.support.stack import (
    LANE,
    MODELS,
    ROOT,
    TCP,
    UNIX,
    Child,
    Stack,
    free_port,
    gateway_child,
    running_stack,
)

SAMPLE = ROOT / "docs/samples/noisy-7.png"
PNG = "image/png"
BULK_IMAGES = 10_000
CONNECTIONS = (1, 16, 64, 256, 1000)
COMPARED = (1, 16, 64)  # clients of the comparison of transports
GATEWAYS = min(WORKERS, os.cpu_count() or 1)  # worker processes, as `make up` has them
# As in production: every request has its line.
QUIET = {
    "ACCESS_LOG": "all",
    "LOG_FORMAT": "json",
    "WORKERS": str(GATEWAYS),
    "PARTIAL_IN_FLIGHT": str(PARTIAL_IN_FLIGHT),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write, print; exit status 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gateway", description=main.__doc__)
    parser.add_argument("--seconds", type=int, default=4, help="of each run of wrk (default 4)")
    parser.add_argument("--rounds", type=int, default=3, help="of every comparison (default 3)")
    parser.add_argument("--output", type=Path, default=report.FOLDER, help="folder for gateway.json and gateway.md")
    chosen = parser.parse_args(argv)
    found = measure(seconds=chosen.seconds, rounds=chosen.rounds)
    print(report.write(found, chosen.output))
    return 0 if all(met for *_, met in report.targets(found)) else 1


def measure(*, seconds: int, rounds: int) -> dict:
    """Everything, in an order that puts what is compared side by side in time."""
    picture = SAMPLE.read_bytes()
    models = floors.Models(MODELS)
    found: dict = {"machine": machine(seconds, rounds), "floors": _floors(models, seconds)}
    with _cold_stack() as (stack, first_answer_s), _embedded() as embedded_url:
        url = f"{stack.url}/v1/recognize"
        for each in (url, f"{embedded_url}/v1/recognize"):
            press(each, connections=64, seconds=1, body=picture, content_type=PNG)
        memory_mb = sum(usage.pss_mb(child.pid) for child in stack.children)
        family = Server(LANE, url, tuple(child.pid for child in stack.children))
        compared: dict[str, list[Load]] = {"gateway": [], "embedded": []}
        cpu_us: list[float] = []
        all_cpu_us: list[float] = []
        for _ in range(rounds):
            before_s, all_before_s = usage.cpu_s(stack.gateway.pid), family.cpu_s()
            load = press(url, connections=64, seconds=seconds, body=picture, content_type=PNG)
            cpu_us.append(1e6 * (usage.cpu_s(stack.gateway.pid) - before_s) / load.requests)
            all_cpu_us.append(1e6 * (family.cpu_s() - all_before_s) / load.requests)
            compared["gateway"].append(load)
            compared["embedded"].append(
                press(f"{embedded_url}/v1/recognize", connections=64, seconds=seconds, body=picture, content_type=PNG)
            )
        others = [
            press(url, connections=count, seconds=seconds, body=picture, content_type=PNG)
            for count in CONNECTIONS
            if count != 64
        ]
        loads = sorted([_typical(compared["gateway"]), *others], key=lambda load: load.connections)
        found["gateway"] = {
            "loads": [load.as_dict() for load in loads],
            "cpu_us_per_request": statistics.median(cpu_us),
            "all_cpu_us_per_request": statistics.median(all_cpu_us),
            "bulk_images_per_s": max(_bulk(stack.url) for _ in range(rounds)),
        }
        found["embedded"] = _typical(compared["embedded"]).as_dict()
        found["stack"] = {"first_answer_s": first_answer_s, "pss_mb": memory_mb}
        found["transports"] = _transports(stack, picture, seconds, rounds)
    return found


def _transports(stack: Stack, picture: bytes, seconds: int, rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Gateways that differ only in how they talk to the same two model servers, in turn."""
    with ExitStack() as ends:
        servers = [ends.enter_context(_gateway(stack, name)) for name in (LANE, TCP, UNIX)]
        found: dict[str, dict[str, dict[str, float]]] = {server.name: {} for server in servers}
        for server in servers:
            press(server.url, connections=16, seconds=1, body=picture, content_type=PNG)
        for count in COMPARED:
            windows: dict[str, list[dict[str, float]]] = {server.name: [] for server in servers}
            for turn in range(rounds):
                for server in servers if turn % 2 == 0 else servers[::-1]:
                    windows[server.name].append(server.window(count, seconds, picture, PNG))
            for name, each in windows.items():
                found[name][str(count)] = summary(each)
    return found


@contextmanager
def _gateway(stack: Stack, transport: str) -> Iterator[Server]:
    """The stack's own gateway, or one beside it that reaches the model servers in another way."""
    servers = stack.denoiser.pid, stack.classifier.pid
    if transport == LANE:
        yield Server(transport, f"{stack.url}/v1/recognize", (stack.gateway.pid, *servers))
        return
    port = free_port()
    child = gateway_child({"PORT": str(port), **QUIET, **stack.targets[transport]})
    with running(child):
        url = listening(f"http://127.0.0.1:{port}")
        yield Server(transport, f"{url}/v1/recognize", (child.pid, *servers))


def _typical(loads: Sequence[Load]) -> Load:
    """The round with the median throughput."""
    return sorted(loads, key=lambda load: load.requests_per_s)[len(loads) // 2]


def _floors(models: floors.Models, seconds: int) -> dict[str, float]:
    with empty_endpoint() as (url, pid):
        alone = press(url, connections=1, seconds=seconds)
        before_s = usage.cpu_s(pid)
        many = press(url, connections=64, seconds=seconds)
        empty_us = 1e6 * (usage.cpu_s(pid) - before_s) / many.requests
    port = free_port()
    with running(Child("noop", ["tests.bench.gateway.floors", "noop", str(port)])):
        hop_ms = floors.hop_ms(f"127.0.0.1:{port}")
    cores = os.cpu_count() or 1
    return {
        "empty_endpoint_p50_ms": alone.p50_ms,
        "empty_endpoint_requests_per_s": many.requests_per_s,
        "hop_ms": hop_ms,
        "compute_ms": floors.compute_ms(models),
        "request_cpu_us": empty_us + sum(floors.request_us(models, SAMPLE.read_bytes()).values()),
        "bulk_images_per_s": floors.bulk_images_per_s(models, BULK_IMAGES, batch=128, threads=cores),
    }


@contextmanager
def _cold_stack() -> Iterator[tuple[Stack, float]]:
    """A stack, and the seconds from nothing to its first right answer."""
    started = time.monotonic()
    with TemporaryDirectory() as lanes, running_stack(gateway=QUIET, lanes=Path(lanes)) as stack:
        answer = requests.post(f"{stack.url}/v1/recognize", data=SAMPLE.read_bytes(), headers={"Content-Type": PNG})
        took_s = time.monotonic() - started
        if answer.json()["results"][0]["digit"] != 7:
            raise SystemExit(f"a wrong answer: {answer.text}")
        yield stack, took_s


@contextmanager
def _embedded() -> Iterator[str]:
    port = free_port()
    settings = {"PORT": str(port), **QUIET}
    child = Child(
        "embedded",
        ["tests.bench.gateway.embedded"],
        {f"CLEARDIGITS_GATEWAY_{name}": value for name, value in settings.items()},
    )
    with running(child):
        yield listening(f"http://127.0.0.1:{port}")


@contextmanager
def empty_endpoint() -> Iterator[tuple[str, int]]:
    """An endpoint that does nothing: its URL and process."""
    port = free_port()
    child = Child("empty", ["tests.bench.gateway.floors", "empty", str(port)])
    with running(child):
        yield listening(f"http://127.0.0.1:{port}/"), child.pid


@contextmanager
def running(child: Child) -> Iterator[None]:
    """A child that is ended when the block is left."""
    child.start()
    try:
        yield
    finally:
        child.close()


def listening(url: str, within_s: float = 20.0) -> str:
    """The URL, once something answers there."""
    ends = time.monotonic() + within_s
    while True:
        try:
            requests.get(url, timeout=1)
        except (requests.ConnectionError, requests.Timeout):  # a parent may listen before its workers answer
            if time.monotonic() > ends:
                raise
            time.sleep(0.05)
        else:
            return url


def _bulk(url: str) -> float:
    """Images a second of one large request, as its client sees it."""
    from services.core.images import decode  # OpenCV is not needed by the floors

    pixels = decode(SAMPLE.read_bytes(), max_pixels=10_000).tobytes() * BULK_IMAGES
    headers = {
        "Content-Type": "application/octet-stream",
        "Accept": "application/x-npy",
        "Request-Timeout-Ms": "60000",
    }
    started = time.perf_counter()
    answer = requests.post(f"{url}/v1/recognize", data=pixels, headers=headers, timeout=60)
    took_s = time.perf_counter() - started
    answer.raise_for_status()
    return BULK_IMAGES / took_s


def machine(seconds: int, rounds: int) -> dict:
    """What the figures were measured on."""
    with Path("/proc/cpuinfo").open() as lines:
        cpu = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "models": str(pair(MODELS)),
        "seconds": seconds,
        "rounds": rounds,
        "bulk_images": BULK_IMAGES,
        "workers": GATEWAYS,
    }


if __name__ == "__main__":
    sys.exit(main())
