"""Short windows of load on servers that are compared: what each gave, and what it cost all its processes."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.bench.gateway.usage import cpu_s
from tests.bench.gateway.wrk import press


@dataclass(frozen=True, slots=True)
class Server:
    """One way to serve the pair: where it listens, and the processes that it consists of."""

    name: str
    url: str
    pids: tuple[int, ...]

    def cpu_s(self) -> float:
        """CPU seconds of all its processes so far."""
        return sum(cpu_s(pid) for pid in self.pids)

    def window(self, connections: int, seconds: int, body: bytes, content_type: str) -> dict[str, float]:
        """One run of wrk, with the CPU of a request."""
        before_s = self.cpu_s()
        load = press(self.url, connections=connections, seconds=seconds, body=body, content_type=content_type)
        return {**load.as_dict(), "cpu_us": 1e6 * (self.cpu_s() - before_s) / max(load.requests, 1)}


def summary(windows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Medians of the windows, the best rate beside them; requests lost are added up."""
    names = ("requests_per_s", "p50_ms", "p99_ms", "cpu_us")
    return {
        **{name: statistics.median(window[name] for window in windows) for name in names},
        "best_requests_per_s": max(window["requests_per_s"] for window in windows),
        "lost": sum(window["not_2xx"] + window["socket_errors"] for window in windows),
    }
