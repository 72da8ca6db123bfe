"""Send a stack what hostile and broken senders would: `make fuzz MINUTES=10`, or `python -m tests.fuzz --minutes=10`.

Loopback only, seeded. Finds answers of 500 and 502, answers later than their deadline, processes that died or were
replaced, and memory beyond its number; exit status 1 on any, with the numbers of the cases, which --only sends again.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import socket
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import grpc
import psutil
import requests

from tests.fuzz.calls import BROKEN, Call, Calls, send
from tests.fuzz.cases import Case, Cases
from tests.fuzz.configurations import configured_server, fuzz_configurations
from tests.fuzz.ports import flags_of, poke, ports
from tests.support.stack import ROOT, Child, Stack, free_port, running_stack

LATE_S = 0.3  # beyond the deadline
PEAK_MB = 512  # of the gateway and its decoders, as docs/OPERATIONS.md has it
PROMISED = {200, 302, 304, 308, 400, 401, 404, 405, 408, 413, 414, 415, 417, 422, 429, 431, 503, 504}
SAMPLE = (ROOT / "docs/samples/noisy-7.png").read_bytes()
_KEPT_S = 2.0
_CALLS_OF_A_CHANNEL = 100
_CALLERS = 2
_PULSE_S = 0.05


@dataclass
class Report:
    """What was seen, kept by all senders together."""

    kinds: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    peak_mb: float = 0.0
    late_s: deque[float] = field(default_factory=lambda: deque([0.0], maxlen=100))  # how late this process was itself
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def requests(self) -> int:
        """In all."""
        return sum(self.kinds.values())

    def count(self, kind: str) -> None:
        """Something that has no answer of its own."""
        with self.lock:
            self.kinds[kind] += 1

    def note(self, number: int, case: Case, status: str, took_s: float) -> None:
        """One answer over HTTP."""
        broken = status == "no answer" or (status.isdecimal() and int(status) not in PROMISED)
        timed = not case.kind.startswith("framing")  # its deadline may be mutated
        self._note(f"case {number}", case.kind, status, took_s, broken, case.budget_s if timed else float("inf"))

    def note_call(self, number: int, call: Call, status: str, took_s: float) -> None:
        """How a call of gRPC ended."""
        self._note(f"call {number}", call.kind, status, took_s, status in BROKEN, call.budget_s)

    def _note(self, name: str, kind: str, status: str, took_s: float, broken: bool, budget_s: float) -> None:
        with self.lock:
            self.kinds[kind.partition(" ")[0]] += 1
            self.statuses[status] += 1
            self.slowest_s = max(self.slowest_s, took_s)
            if broken:
                self.findings.append(f"{name} ({kind}): {status}")
            if took_s > budget_s + LATE_S:
                own_s = max(self.late_s)
                self.findings.append(f"{name} ({kind}): {status} after {took_s:.2f} s; we were {own_s:.2f} s late")

    def find(self, text: str) -> None:
        """Something that must not be."""
        with self.lock:
            self.findings.append(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, report, say whether anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default 10)")
    parser.add_argument("--seed", type=int, default=1, help="other seed, other cases (default 1)")
    parser.add_argument("--senders", type=int, default=8, help="requests at the same time (default 8)")
    parser.add_argument("--only", type=int, help="send the case of this number, show its answer, and end")
    parser.add_argument("--only-call", type=int, help="the same of a call of gRPC")
    chosen = parser.parse_args(argv)
    cases, calls, report = Cases(chosen.seed), Calls(chosen.seed), Report()
    grpc_port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = {"GRPC_PORT": str(grpc_port), "CAPTURE_DIR": str(folder / "captures"), "CAPTURE_MAX_MB": "20"}
        with (
            running_stack(gateway=settings, lanes=folder) as stack,
            configured_server(folder) as (server, file),
        ):
            addresses = {"gateway": f"127.0.0.1:{grpc_port}"} | {
                child.name: f"127.0.0.1:{flags_of(child)['port']}" for child in (stack.denoiser, stack.classifier)
            }
            if chosen.only is not None:
                case = cases.make(chosen.only)
                print(case, *_send(stack, case), sep="\n")
                return 0
            if chosen.only_call is not None:
                call = calls.make(chosen.only_call)
                with grpc.insecure_channel(addresses[call.server]) as channel:
                    print(call, send(channel, call), sep="\n")
                return 0
            ends_s = time.monotonic() + 60 * chosen.minutes
            jobs: list[Callable[[], None]] = [
                partial(_fuzz, stack, cases, report, sender, chosen.senders, ends_s) for sender in range(chosen.senders)
            ]
            jobs += [partial(_fuzz_calls, addresses, calls, report, caller, ends_s) for caller in range(_CALLERS)]
            jobs.append(partial(_fuzz_ports, stack, grpc_port, report, chosen.seed, ends_s))
            jobs.append(partial(fuzz_configurations, server, file, chosen.seed, ends_s, report.find, report.count))
            jobs.append(partial(_pulse, report, ends_s))
            threads = [threading.Thread(target=job, daemon=True) for job in jobs]  # none outlives a run that is ended
            for thread in threads:
                thread.start()
            children = (*stack.children, server)
            _watch(stack, children, report, ends_s)
            for thread in threads:
                thread.join()
            _check(stack, children, report)
    print(_text(report, chosen.seed))
    return 1 if report.findings or not report.requests else 0


def _fuzz(stack: Stack, cases: Cases, report: Report, sender: int, step: int, ends_s: float) -> None:
    number = sender
    while time.monotonic() < ends_s:
        case = cases.make(number)
        status, _, took_s = _send(stack, case)
        report.note(number, case, status, took_s)
        number += step


def _send(stack: Stack, case: Case) -> tuple[str, bytes, float]:
    """Status or what became of the connection, the answer, and the seconds until its last byte."""
    host, port = stack.url.removeprefix("http://").split(":")
    started_s = time.monotonic()
    found, took_s = b"", 0.0
    try:
        with socket.create_connection((host, int(port)), timeout=case.budget_s + 15) as connection:
            connection.sendall(case.sent)
            while part := connection.recv(65536):
                found += part
                took_s = time.monotonic() - started_s
                connection.settimeout(_KEPT_S)  # a mutated head may have lost its "connection: close"
    except TimeoutError:
        if not found:
            return "no answer", found, time.monotonic() - started_s
    except OSError:
        pass  # closed while a refused body was on its way: what was read before counts
    statuses = re.findall(rb"(?:^|\r\n\r\n)HTTP/1\.1 (\d{3}) ", found)
    final = [status.decode() for status in statuses if status != b"100"]
    return (final[0] if final else "closed"), found, took_s


def _fuzz_calls(addresses: dict[str, str], calls: Calls, report: Report, caller: int, ends_s: float) -> None:
    number = caller
    while time.monotonic() < ends_s:
        channels = {server: grpc.insecure_channel(address) for server, address in addresses.items()}
        for _ in range(_CALLS_OF_A_CHANNEL):
            call = calls.make(number)
            started_s = time.monotonic()
            status = send(channels[call.server], call)
            report.note_call(number, call, status, time.monotonic() - started_s)
            number += _CALLERS
        for channel in channels.values():
            channel.close()


def _fuzz_ports(stack: Stack, grpc_port: int, report: Report, seed: int, ends_s: float) -> None:
    """Bytes to gRPC, REST and the lane; what counts is that the servers live and answer the others."""
    rng = random.Random(f"{seed}/ports")
    found = ports(stack, grpc_port)
    while time.monotonic() < ends_s:
        port = rng.choice(found)
        if wrong := poke(port, rng):
            report.find(wrong)
        report.count(port.name)


def _pulse(report: Report, ends_s: float) -> None:
    """How late this process comes to its own work: answers seem as late as that."""
    while (before_s := time.monotonic()) < ends_s:
        time.sleep(_PULSE_S)
        report.late_s.append(time.monotonic() - before_s - _PULSE_S)


def _watch(stack: Stack, children: Sequence[Child], report: Report, ends_s: float) -> None:
    """Once a second: memory; that every process lives; that an honest client gets its digit in time."""
    while time.monotonic() < ends_s:
        report.peak_mb = max(report.peak_mb, pss_mb(stack.gateway.pid))
        for child in children:
            if not child.running():
                report.find(f"{child.name} died:\n{child.output()[-2000:]}")
                return
        started_s = time.monotonic()
        answer = requests.post(
            f"{stack.url}/v1/recognize", data=SAMPLE, headers={"Content-Type": "image/png"}, timeout=30
        )
        took_s = time.monotonic() - started_s
        if answer.status_code != 200 or answer.json()["results"][0]["digit"] != 7:
            report.find(f"an honest client got {answer.status_code} {answer.text[:200]}")
        elif took_s > 2 + LATE_S:
            report.find(f"an honest client waited {took_s:.2f} s; we were {max(report.late_s):.2f} s late")
        time.sleep(1)


def pss_mb(pid: int) -> float:
    """Of the gateway, its workers and their decoders; shared pages count once (PSS)."""
    total = 0
    parent = psutil.Process(pid)
    for process in [parent, *parent.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue  # a decoder that was replaced
    return total / 1e6


def _check(stack: Stack, children: Sequence[Child], report: Report) -> None:
    text = requests.get(f"{stack.url}/metrics", timeout=10).text
    restarts = re.search(r"^cleardigits_worker_restarts ([0-9.]+)$", text, re.MULTILINE)
    if restarts is None or float(restarts[1]) > 0:
        report.find(f"workers died: {restarts and restarts[1]}")
    if report.peak_mb > PEAK_MB:
        report.find(f"peak memory {report.peak_mb:.0f} MB; {PEAK_MB} are allowed")
    for child in children:
        for trace, times in _traces(child.output()).most_common(5):
            report.find(f"{times} tracebacks in the log of the {child.name}: {trace}")


def _traces(output: str) -> Counter[str]:
    """The ends of tracebacks of ours in a service's log. grpc logs its own: for metadata that is not UTF-8, say."""
    found: Counter[str] = Counter()
    for line in output.splitlines():
        trace = json.loads(line).get("exception", "") if line.startswith("{") else line
        if "Traceback" in trace and "/services/" in trace:
            found[trace[-600:]] += 1
    return found


def _text(report: Report, seed: int) -> str:
    lines = [
        f"seed {seed}: {report.requests:,} requests",
        "kinds: " + ", ".join(f"{kind} {count:,}" for kind, count in report.kinds.most_common()),
        "statuses: " + ", ".join(f"{status} {count:,}" for status, count in sorted(report.statuses.items())),
        f"slowest answer {report.slowest_s:.2f} s; peak memory of the gateway {report.peak_mb:.0f} MB (PSS)",
        f"{len(report.findings)} findings",
        *report.findings[:50],
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
