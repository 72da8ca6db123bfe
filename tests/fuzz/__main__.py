"""Send a stack what hostile and broken senders would: `make fuzz MINUTES=10`, or `python -m tests.fuzz --minutes=10`.

Loopback only, seeded. Finds answers of 500 and 502, answers later than their deadline, processes that died or were
replaced, and memory beyond its number; exit status 1 on any, with the numbers of the cases, which --only sends again.
"""

from __future__ import annotations

import argparse
import random
import re
import socket
import struct
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import requests

from services.core.lane import SCHEME
from tests.fuzz.cases import Case, Cases
from tests.fuzz.mutations import mutated
from tests.support.stack import ROOT, Stack, running_stack

LATE_S = 0.3  # beyond the deadline
PEAK_MB = 512  # of the gateway and its decoders, as docs/OPERATIONS.md has it
PROMISED = {200, 302, 304, 308, 400, 401, 404, 405, 408, 413, 414, 415, 417, 422, 429, 431, 503, 504}
SAMPLE = (ROOT / "docs/samples/noisy-7.png").read_bytes()
_KEPT_S = 2.0
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


@dataclass
class Report:
    """What was seen, kept by all senders together."""

    requests: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    peak_mb: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, number: int, case: Case, status: str, took_s: float) -> None:
        """One answer."""
        with self.lock:
            self.requests += 1
            self.statuses[status] += 1
            self.kinds[case.kind.partition(" ")[0]] += 1
            self.slowest_s = max(self.slowest_s, took_s)
            if status == "no answer" or (status.isdecimal() and int(status) not in PROMISED):
                self.findings.append(f"case {number} ({case.kind}): {status}")
            if took_s > case.budget_s + LATE_S and not case.kind.startswith("framing"):
                self.findings.append(f"case {number} ({case.kind}): {status} after {took_s:.2f} s")

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
    chosen = parser.parse_args(argv)
    cases, report = Cases(chosen.seed), Report()
    with tempfile.TemporaryDirectory() as lanes, running_stack(lanes=Path(lanes)) as stack:
        if chosen.only is not None:
            case = cases.make(chosen.only)
            print(case, *_send(stack, case), sep="\n")
            return 0
        ends_s = time.monotonic() + 60 * chosen.minutes
        threads = [
            threading.Thread(target=_fuzz, args=(stack, cases, report, sender, chosen.senders, ends_s))
            for sender in range(chosen.senders)
        ]
        threads.append(threading.Thread(target=_fuzz_model_servers, args=(stack, report, chosen.seed, ends_s)))
        for thread in threads:
            thread.start()
        _watch(stack, report, ends_s)
        for thread in threads:
            thread.join()
        _check(stack, report)
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


def _fuzz_model_servers(stack: Stack, report: Report, seed: int, ends_s: float) -> None:
    """Bytes to gRPC, REST and the lane of both; what counts is that they live and answer the others."""
    rng = random.Random(f"{seed}/model servers")
    request = (
        b"POST /v1/models/classifier:predict HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 20\r\n\r\n"
    )
    frame = struct.pack("<BII", 1, 1000, 64) + bytes(64)
    while time.monotonic() < ends_s:
        for child in (stack.denoiser, stack.classifier):
            flags = dict(word.removeprefix("--").split("=", 1) for word in child.arguments if word.startswith("--"))
            places = (
                (socket.AF_INET, ("127.0.0.1", int(flags["port"])), _PREFACE),
                (socket.AF_INET, ("127.0.0.1", int(flags["rest_api_port"])), request + b'{"instances": [[0]]}'),
                (socket.AF_UNIX, flags["lane_path"].removeprefix(SCHEME), frame),
            )
            for family, address, honest in places:
                _poke(family, address, mutated(honest, rng))
                with report.lock:
                    report.kinds["model servers"] += 1
        time.sleep(0.02)


def _poke(family: int, address: object, data: bytes) -> None:
    with socket.socket(family) as connection:
        connection.settimeout(0.2)
        try:
            connection.connect(address)
            connection.sendall(data)
            connection.recv(4096)
        except OSError:
            pass  # refused, closed or nothing to say: all are answers to rubbish


def _watch(stack: Stack, report: Report, ends_s: float) -> None:
    """Once a second: memory; that every process lives; that an honest client gets its digit in time."""
    while time.monotonic() < ends_s:
        report.peak_mb = max(report.peak_mb, pss_mb(stack.gateway.pid))
        for child in stack.children:
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
            report.find(f"an honest client waited {took_s:.2f} s")
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


def _check(stack: Stack, report: Report) -> None:
    text = requests.get(f"{stack.url}/metrics", timeout=10).text
    restarts = re.search(r"^cleardigits_worker_restarts ([0-9.]+)$", text, re.MULTILINE)
    if restarts is None or float(restarts[1]) > 0:
        report.find(f"workers died: {restarts and restarts[1]}")
    if report.peak_mb > PEAK_MB:
        report.find(f"peak memory {report.peak_mb:.0f} MB; {PEAK_MB} are allowed")
    output = stack.gateway.output()
    for trace in re.findall(r'"exception":"[^"]{0,600}', output)[:5]:
        report.find(f"a traceback in the gateway's log: {trace}")


def _text(report: Report, seed: int) -> str:
    lines = [
        f"seed {seed}: {report.requests:,} requests to the gateway, {report.kinds['model servers']:,} to model servers",
        "kinds: " + ", ".join(f"{kind} {count:,}" for kind, count in report.kinds.most_common()),
        "statuses: " + ", ".join(f"{status} {count:,}" for status, count in sorted(report.statuses.items())),
        f"slowest answer {report.slowest_s:.2f} s; peak memory of the gateway {report.peak_mb:.0f} MB (PSS)",
        f"{len(report.findings)} findings",
        *report.findings[:50],
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
