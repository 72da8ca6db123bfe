"""What a shadow costs users: `python -m tests.bench.shadow` (`make bench-shadow`). Six minutes, idle machine, wrk.

Gateways over the same two model servers: two without a shadow, others with a tenth of the calls shadowed: by the same
servers, by one that takes half a second for each call, by one that is not there. All are up at once and are pressed in
turn, a short window each, round by round: what drifts drifts for all alike. Each window is an open loop at half of what
the machine can do, with the same random times for all; what the shadow has put off is waited for before the next. Exit
status 1: the target is missed.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import requests

from tests.bench.gateway.__main__ import PNG, QUIET, SAMPLE, listening, machine, running
from tests.bench.gateway.report import FOLDER
from tests.bench.gateway.wrk import press
from tests.bench.peers.open_loop import press_open
from tests.bench.shadow import report, slow_server
from tests.bench.shadow.report import AGAIN, NONE
from tests.bench.windows import Server, summary
from tests.support.stack import Child, Stack, free_port, gateway_child, running_stack

SHARE = "0.1"
OF_CAPACITY = 0.5
CONNECTIONS = 16  # of wrk, at saturation
SATURATED_ROUNDS, SATURATED_S = 2, 3
SETTLE_S = 1.0  # after each window: what a shadow has put off is done, and its cost counted


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write docs/benchmarks/shadow.md, print it; exit status 1 when the target is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.shadow", description=main.__doc__)
    parser.add_argument("--seconds", type=int, default=4, help="of each window (default 4)")
    parser.add_argument("--rounds", type=int, default=11, help="windows of each gateway (default 11)")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder for shadow.json and shadow.md")
    chosen = parser.parse_args(argv)
    found = measure(seconds=chosen.seconds, rounds=chosen.rounds)
    chosen.output.mkdir(parents=True, exist_ok=True)
    (chosen.output / "shadow.json").write_text(json.dumps(found, indent=2) + "\n")
    text = report.markdown(found)
    (chosen.output / "shadow.md").write_text(text)
    print(text)
    return 0 if report.is_met(found) else 1


def measure(*, seconds: int, rounds: int) -> dict[str, Any]:
    """Every gateway in turn, below saturation and at it."""
    picture = SAMPLE.read_bytes()
    with _gateways() as servers:
        for server in servers:
            server.window(CONNECTIONS, 1, picture, PNG)
        capacity = press(
            servers[0].url, connections=CONNECTIONS, seconds=seconds, body=picture, content_type=PNG
        ).requests_per_s
        rate = OF_CAPACITY * capacity
        windows = _open_loop(servers, rate, seconds, rounds, picture)
        saturated = _saturated(servers, picture)
        outcomes = {server.name: _outcomes(server.url) for server in servers}
    return {
        "machine": machine(seconds, rounds),
        "share": float(SHARE),
        "capacity_per_s": capacity,
        "rate_per_s": rate,
        "gateways": report.compared(windows),
        "saturated": saturated,
        "outcomes": outcomes,
    }


def _open_loop(
    servers: Sequence[Server], rate: float, seconds: int, rounds: int, picture: bytes
) -> dict[str, list[report.Window]]:
    windows: dict[str, list[report.Window]] = {server.name: [] for server in servers}
    for number in range(rounds):
        first = number % len(servers)
        for server in (*servers[first:], *servers[:first]):
            before_s = server.cpu_s()
            latencies_ms = press_open(
                server.url, rate=rate, seconds=seconds, body=picture, content_type=PNG, seed=number
            )
            time.sleep(SETTLE_S)
            cpu_us = 1e6 * (server.cpu_s() - before_s) / len(latencies_ms)
            windows[server.name].append(report.Window(np.array(latencies_ms), cpu_us))
    return windows


def _saturated(servers: Sequence[Server], picture: bytes) -> dict[str, dict[str, float]]:
    windows: dict[str, list[dict[str, float]]] = {server.name: [] for server in servers}
    for _ in range(SATURATED_ROUNDS):
        for server in servers:
            windows[server.name].append(server.window(CONNECTIONS, SATURATED_S, picture, PNG))
            time.sleep(SETTLE_S)
    return {name: summary(each) for name, each in windows.items()}


def _outcomes(url: str) -> dict[str, int]:
    """What became of the shadow's pictures, as /metrics counts them."""
    prefix = "cleardigits_shadow_pictures_total{outcome="
    page = requests.get(url.replace("/v1/recognize", "/metrics"), timeout=5).text
    counts = {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in page.splitlines() if prefix in line}
    return {outcome: int(count) for outcome, count in counts.items() if count}


@contextmanager
def _gateways() -> Iterator[list[Server]]:
    """All of them, ready."""
    port, dead = free_port(), f"127.0.0.1:{free_port()}"
    slow = Child("slow", ["tests.bench.shadow.slow_server", str(port)])
    with (
        TemporaryDirectory() as lanes,
        running_stack(gateway=QUIET, lanes=Path(lanes)) as stack,
        running(slow),
        ExitStack() as ends,
    ):
        own = {
            role: stack.gateway.environment[f"CLEARDIGITS_GATEWAY_{role}_TARGET"] for role in ("DENOISER", "CLASSIFIER")
        }
        shadows: dict[str, Mapping[str, str]] = {
            AGAIN: {},
            "by the same servers": own,
            f"slow, {1e3 * slow_server.TAKES_S:.0f} ms a call": dict.fromkeys(own, f"127.0.0.1:{port}"),
            "dead": dict.fromkeys(own, dead),
        }
        yield [
            _server(NONE, stack.url, stack.gateway, stack),
            *(ends.enter_context(_beside(stack, name, targets)) for name, targets in shadows.items()),
        ]


@contextmanager
def _beside(stack: Stack, name: str, shadow: Mapping[str, str]) -> Iterator[Server]:
    """One more gateway over the stack's model servers."""
    port = free_port()
    own = {"PORT": str(port)}
    if shadow:
        own |= {"SHADOW_SHARE": SHARE, **{f"SHADOW_{role}_TARGET": target for role, target in shadow.items()}}
    child = gateway_child(own)
    child.environment = {**stack.gateway.environment, **child.environment}
    with running(child):
        yield _server(name, listening(f"http://127.0.0.1:{port}"), child, stack)


def _server(name: str, url: str, gateway: Child, stack: Stack) -> Server:
    return Server(name, f"{url}/v1/recognize", (gateway.pid, stack.denoiser.pid, stack.classifier.pid))


if __name__ == "__main__":
    sys.exit(main())
