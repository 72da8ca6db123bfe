"""wrk, the outside load generator: run it, read its report."""

import re
import shutil
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

_IN_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
INSTALL = "wrk is not installed: apt install wrk (Debian, Ubuntu) or brew install wrk (macOS)"


@dataclass(frozen=True, slots=True)
class Load:
    """One run of wrk: a closed loop of so many connections."""

    connections: int
    requests: int
    requests_per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    not_2xx: int
    socket_errors: int

    def as_dict(self) -> dict[str, float]:
        """For the JSON report."""
        return asdict(self)


def press(url: str, *, connections: int, seconds: int, body: bytes = b"", content_type: str = "") -> Load:
    """Ask `url` over and over: POST `body` when there is one, else GET."""
    if shutil.which("wrk") is None:
        raise SystemExit(INSTALL)
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "post.lua")
        picture = Path(folder, "body")
        picture.write_bytes(body)
        script.write_text(
            f'local file = io.open("{picture}", "rb")\nwrk.body = file:read("*a")\nfile:close()\n'
            f'wrk.method = "{"POST" if body else "GET"}"\n'
            + (f'wrk.headers["Content-Type"] = "{content_type}"\n' if content_type else "")
        )
        command = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--timeout",
            "10s",
            "--latency",
            "-s",
            script,
            url,
        ]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return read_report(text, connections)


def read_report(text: str, connections: int) -> Load:
    """The numbers in what wrk prints."""
    shares = {int(share): _ms(value) for share, value in re.findall(r"^\s+(50|90|99)%\s+(\S+) *$", text, re.MULTILINE)}
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return Load(
        connections=connections,
        requests=int(re.search(r"(\d+) requests in", text)[1]),
        requests_per_s=float(re.search(r"Requests/sec:\s+([0-9.]+)", text)[1]),
        p50_ms=shares[50],
        p90_ms=shares[90],
        p99_ms=shares[99],
        not_2xx=int(refused[1]) if refused else 0,
        socket_errors=sum(map(int, errors.groups())) if errors else 0,
    )


def _ms(text: str) -> float:
    number, unit = re.fullmatch(r"([0-9.]+)(us|ms|s|m)", text).groups()
    return float(number) * _IN_MS[unit]
