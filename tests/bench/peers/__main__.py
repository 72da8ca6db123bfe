"""The chain and its peers in alternation: `make bench-peers`. Seven minutes, idle machine, wrk.

All servers are up at once and are pressed in turn, a short window each, so that a slow minute of the machine falls on
all of them. Every server answers the sample rightly before anything is measured.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import requests

from services.core.images import decode
from tests.bench.gateway.__main__ import PNG, QUIET, SAMPLE, empty_endpoint, listening, machine, running
from tests.bench.gateway.floors import Models, request_us
from tests.bench.gateway.report import FOLDER
from tests.bench.gateway.usage import cpu_s, pss_mb
from tests.bench.gateway.wrk import press
from tests.bench.peers import report
from tests.bench.peers.open_loop import press_open
from tests.bench.windows import Server, summary
from tests.support.stack import MODELS, Child, free_port, running_stack

RAW = "application/octet-stream"
CONNECTIONS = (1, 16, 64, 256)
BULK_IMAGES, BULK_CONNECTIONS = 256, 4
RATES = (33, 200, 400)  # requests a second, at random times
CLIENT = "the client alone"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write docs/benchmarks/peers.md, print it; exit status 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description=main.__doc__)
    parser.add_argument("--seconds", type=int, default=2, help="of each window (default 2)")
    parser.add_argument("--rounds", type=int, default=5, help="windows of each server at each load (default 5)")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder for peers.json and peers.md")
    chosen = parser.parse_args(argv)
    found = measure(seconds=chosen.seconds, rounds=chosen.rounds)
    chosen.output.mkdir(parents=True, exist_ok=True)
    (chosen.output / "peers.json").write_text(json.dumps(found, indent=2) + "\n")
    text = report.markdown(found)
    (chosen.output / "peers.md").write_text(text)
    print(text)
    return 0 if all(met for *_, met in report.targets(found)) else 1


def measure(*, seconds: int, rounds: int) -> dict:
    """Every server at every load, in turn."""
    picture = SAMPLE.read_bytes()
    pixels = decode(picture, max_pixels=10_000).tobytes() * BULK_IMAGES
    loads = [(str(count), count, picture, PNG) for count in CONNECTIONS] + [("bulk", BULK_CONNECTIONS, pixels, RAW)]
    windows: dict[str, dict[str, list[dict[str, float]]]] = {}
    with ExitStack() as ends:
        servers = [ends.enter_context(each) for each in (_lane(), _grpc(), _peer("plain"), _peer("batching"))]
        for server in servers:
            _check(server, picture, 1)
            _check(server, pixels, BULK_IMAGES)
            press(server.url, connections=16, seconds=1, body=picture, content_type=PNG)
        for name, connections, body, content_type in loads:
            for _ in range(rounds):
                for server in servers:
                    window = server.window(connections, seconds, body, content_type)
                    windows.setdefault(server.name, {}).setdefault(name, []).append(window)
        open_loop = _open_loop(servers, rounds, 2 * seconds, picture)
        memory = {server.name: sum(pss_mb(pid) for pid in server.pids) for server in servers}
    return {
        "machine": machine(seconds, rounds),
        "bulk_images": BULK_IMAGES,
        "floor_us": _floor_us(picture, seconds),
        "servers": {name: {load: summary(each) for load, each in by.items()} for name, by in windows.items()},
        "pss_mb": memory,
        "open_loop": open_loop,
    }


def _open_loop(servers: Sequence[Server], rounds: int, seconds: int, picture: bytes) -> dict[str, dict[str, Any]]:
    """Requests at random times, the same times for every server in turn; beside them what the client itself takes."""
    found: dict[str, dict[str, Any]] = {}
    with empty_endpoint() as (url, pid):
        pressed = [*(server for server in servers if server.name in report.OPEN_LOOP), Server(CLIENT, url, (pid,))]
        for rate in RATES:
            latencies: dict[str, list[float]] = {server.name: [] for server in pressed}
            for turn in range(rounds):
                for server in pressed:
                    latencies[server.name] += press_open(
                        server.url, rate=rate, seconds=seconds, body=picture, content_type=PNG, seed=turn
                    )
            for name, each in latencies.items():
                p50, p99 = np.percentile(each, (50, 99)).tolist()
                found.setdefault(name, {})[str(rate)] = {"p50_ms": p50, "p99_ms": p99, "requests": len(each)}
    return found


def _check(server: Server, body: bytes, count: int) -> None:
    content_type = PNG if count == 1 else RAW
    answer = requests.post(server.url, data=body, headers={"Content-Type": content_type}, timeout=30).json()
    read = np.array([each["digit"] for each in answer["results"]])
    if len(read) != count or (read != 7).any():
        raise SystemExit(f"{server.name} answers wrongly: {answer}")


def _floor_us(picture: bytes, seconds: int) -> dict[str, float]:
    with empty_endpoint() as (url, pid):
        before_s = cpu_s(pid)
        load = press(url, connections=64, seconds=seconds)
        empty_us = 1e6 * (cpu_s(pid) - before_s) / load.requests
    parts = {"an empty HTTP handler, 64 clients": empty_us, **request_us(Models(MODELS), picture)}
    return {**parts, "sum": sum(parts.values())}


@contextmanager
def _lane() -> Iterator[Server]:
    with TemporaryDirectory() as lanes, running_stack(gateway=QUIET, lanes=Path(lanes)) as stack:
        yield Server("ours, lane", f"{stack.url}/v1/recognize", tuple(child.pid for child in stack.children))


@contextmanager
def _grpc() -> Iterator[Server]:
    with running_stack(gateway=QUIET) as stack:
        yield Server("ours, gRPC over TCP", f"{stack.url}/v1/recognize", tuple(child.pid for child in stack.children))


@contextmanager
def _peer(kind: str) -> Iterator[Server]:
    port = free_port()
    arguments = ["uvicorn", f"tests.bench.peers.app:{kind}", "--port", str(port), "--workers", "2", "--no-access-log"]
    child = Child(kind, arguments)
    names = {"plain": "FastAPI, models inside", "batching": "FastAPI, models inside, micro-batching"}
    with running(child):
        listening(f"http://127.0.0.1:{port}/")
        yield Server(names[kind], f"http://127.0.0.1:{port}/v1/recognize", (child.pid,))


if __name__ == "__main__":
    sys.exit(main())
