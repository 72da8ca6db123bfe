"""How long requests take: the same request many times from a few clients, counted at the client and per stage."""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from services.core import metrics
from services.core.images import encode_png
from services.core.noise import Images
from services.evaluator.client import NPY, Exchange, GatewayClient, as_npy
from services.evaluator.results import Latency

STAGES = ("decode", "queue", "denoise", "classify", "total")
BARS = 48


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of request to repeat."""

    name: str
    clients: int
    images: int
    content_type: str
    bodies: Sequence[bytes]
    requests: int
    denoise: str = "always"


def cases(images: Images, requests: int) -> list[Case]:
    """The kinds people send: one PNG, one JSON array, many clients, many images at once."""
    pngs = [encode_png(image) for image in images[:100]]
    pixels = np.rint(255 * images[:100, ..., 0]).astype(int)
    arrays = [json.dumps({"images": [picture.tolist()], "scale": 255}).encode() for picture in pixels]
    bulk = [as_npy(images[start : start + 256]) for start in range(0, min(len(images), 1024), 256)]
    return [
        Case("one PNG, one client", 1, 1, "image/png", pngs, requests),
        Case("one PNG, one client, classify only", 1, 1, "image/png", pngs, requests, denoise="never"),
        Case("one JSON array, one client", 1, 1, "application/json", arrays, requests),
        Case("one PNG, 8 clients", 8, 1, "image/png", pngs, requests),
        Case("256 images, two clients", 2, 256, NPY, bulk, max(requests // 20, 20)),
    ]


def measure(case: Case, client: GatewayClient, advance: Callable[[int], None]) -> Latency:
    """Repeat one case. `client` should not be patient: an answer that is not 200 counts as an error."""
    query = {"denoise": case.denoise, "preprocess": "none"}
    bodies = itertools.cycle(case.bodies)
    for _ in range(min(20, case.requests)):  # connections, caches and thread pools warm up
        client.exchange(next(bodies), case.content_type, **query)

    def one(body: bytes) -> Exchange:
        exchange = client.exchange(body, case.content_type, **query)
        advance(1)
        return exchange

    with ThreadPoolExecutor(case.clients) as pool:
        started = time.perf_counter()
        exchanges = list(pool.map(one, itertools.islice(bodies, case.requests)))
        seconds = time.perf_counter() - started
    return summary(case, exchanges, seconds)


def summary(case: Case, exchanges: Sequence[Exchange], seconds: float) -> Latency:
    """Percentiles of the good answers, medians of what the gateway says about its stages."""
    good = [exchange for exchange in exchanges if exchange.status == 200]
    elapsed = np.array([exchange.elapsed_ms for exchange in good])
    timings = [json.loads(exchange.body)["timings_ms"] for exchange in good]
    return Latency(
        case=case.name,
        clients=case.clients,
        images=case.images,
        requests=len(exchanges),
        errors=len(exchanges) - len(good),
        seconds=seconds,
        ms=percentiles(elapsed),
        stages_ms={stage: statistics.median(each[stage] for each in timings) for stage in STAGES} if good else {},
        request_bytes=statistics.fmean(exchange.request_bytes for exchange in exchanges),
        response_bytes=statistics.fmean(exchange.response_bytes for exchange in exchanges),
        histogram=histogram(elapsed),
    )


def percentiles(elapsed_ms: np.ndarray) -> dict[str, float]:
    """Mean, percentiles and the worst; empty when nothing was answered."""
    if not len(elapsed_ms):
        return {}
    return {"mean": float(elapsed_ms.mean()), **metrics.percentiles(elapsed_ms), "max": float(elapsed_ms.max())}


def histogram(elapsed_ms: np.ndarray) -> list[tuple[float, float, int]]:
    """Equally wide bars up to p99.5; what is slower joins the last one."""
    if not len(elapsed_ms):
        return []
    edges = np.linspace(elapsed_ms.min(), np.percentile(elapsed_ms, 99.5), BARS + 1)
    counts, _ = np.histogram(np.minimum(elapsed_ms, edges[-1]), edges)
    return [(float(low), float(high), int(count)) for low, high, count in zip(edges, edges[1:], counts, strict=False)]
