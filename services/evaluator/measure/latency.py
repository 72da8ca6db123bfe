"""How long requests take: the same request many times from a few clients, counted at the client and per stage."""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from services.core import metrics
from services.core.images import encode_png
from services.core.noise import Images
from services.evaluator.client import NPY, GatewayClient, TimedAnswer, as_npy, read_json
from services.evaluator.measure.experiment import Chain
from services.evaluator.measure.results import Latency

STAGES = ("decode", "queue", "denoise", "classify", "total")
BARS = 48
BULK = 256
FLOOR_REQUESTS = 300  # GET /healthz from as many clients: what the client itself takes


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of request to repeat."""

    name: str
    clients: int
    images: int
    content_type: str
    bodies: Sequence[bytes]
    digits: Sequence[Sequence[int]]  # what has to be read in each body
    requests: int
    denoise: str = "always"


def cases(images: Images, requests: int, chain: Chain) -> list[Case]:
    """The kinds people send: one PNG, one JSON array, many clients, many images at once."""
    pixels = np.rint(255 * images[:100]).astype(np.uint8)
    rounded = (pixels / np.float32(255)).astype(np.float32)
    pngs = [encode_png(image) for image in rounded]
    arrays = [json.dumps({"images": [picture.tolist()], "scale": 255}).encode() for picture in pixels[..., 0]]
    plain, cleaned = (_each(_digits(chain, rounded, arm)) for arm in ("never", "always"))
    parts = [images[start : start + BULK] for start in range(0, len(images) - BULK + 1, BULK)] or [images]
    bulk, bulk_digits = [as_npy(part) for part in parts], [_digits(chain, part, "always") for part in parts]
    size = len(parts[0])
    return [
        Case("one PNG, one client", 1, 1, "image/png", pngs, cleaned, requests),
        Case("one PNG, one client, classify only", 1, 1, "image/png", pngs, plain, requests, denoise="never"),
        Case("one JSON array, one client", 1, 1, "application/json", arrays, cleaned, requests),
        Case("one PNG, 8 clients", 8, 1, "image/png", pngs, cleaned, requests),
        Case(f"{size} images, two clients", 2, size, NPY, bulk, bulk_digits, max(requests // 20, 20)),
    ]


def measure(case: Case, client: GatewayClient, advance: Callable[[int], None]) -> Latency:
    """Repeat one case. `client` should not be patient: an answer that is not 200, or not right, counts as an error."""
    query = {"denoise": case.denoise, "preprocess": "none"}
    turns = itertools.cycle(range(len(case.bodies)))
    for turn in itertools.islice(turns, min(20, case.requests)):  # connections, caches and thread pools warm up
        client.exchange(case.bodies[turn], case.content_type, **query)

    def one(turn: int) -> tuple[TimedAnswer, Sequence[int]]:
        exchange = client.exchange(case.bodies[turn], case.content_type, **query)
        advance(1)
        return exchange, case.digits[turn]

    with ThreadPoolExecutor(case.clients) as pool:
        floors = list(pool.map(lambda _: client.floor(), range(min(FLOOR_REQUESTS, case.requests))))
        started = time.perf_counter()
        exchanges = list(pool.map(one, itertools.islice(turns, case.requests)))
        seconds = time.perf_counter() - started
    return replace(
        summary(case, exchanges, seconds), floor_ms=percentiles(np.array([each.elapsed_ms for each in floors]))
    )


def summary(case: Case, exchanges: Sequence[tuple[TimedAnswer, Sequence[int]]], seconds: float) -> Latency:
    """Percentiles of the right answers, medians of what the gateway says about its stages."""
    answered = [(exchange, digits) for exchange, digits in exchanges if exchange.status == 200]
    answers = [(exchange, digits, read_json(exchange, count=case.images)) for exchange, digits in answered]
    right = [
        (exchange, answer)
        for exchange, digits, answer in answers
        if [result["digit"] for result in answer["results"]] == list(digits)
    ]
    elapsed = np.array([exchange.elapsed_ms for exchange, _ in right])
    timings = [answer["timings_ms"] for _, answer in right]
    return Latency(
        case=case.name,
        clients=case.clients,
        images=case.images,
        requests=len(exchanges),
        errors=len(exchanges) - len(right),
        seconds=seconds,
        ms=percentiles(elapsed),
        stages_ms={stage: statistics.median(each[stage] for each in timings) for stage in STAGES} if right else {},
        request_bytes=statistics.fmean(exchange.request_bytes for exchange, _ in exchanges),
        response_bytes=statistics.fmean(exchange.response_bytes for exchange, _ in exchanges),
        histogram=histogram(elapsed),
    )


def percentiles(elapsed_ms: np.ndarray) -> dict[str, float]:
    """Mean, percentiles and the worst; empty when nothing was answered."""
    if not len(elapsed_ms):
        return {}
    return {"mean": float(elapsed_ms.mean()), **metrics.percentiles(elapsed_ms), "max": float(elapsed_ms.max())}


def histogram(elapsed_ms: np.ndarray) -> list[tuple[float, float, int]]:
    """Equally wide bars up to p99; what is slower joins the last one."""
    if not len(elapsed_ms):
        return []
    edges = np.linspace(elapsed_ms.min(), np.percentile(elapsed_ms, 99), BARS + 1)
    counts, _ = np.histogram(np.minimum(elapsed_ms, edges[-1]), edges)
    return [(float(low), float(high), int(count)) for low, high, count in zip(edges, edges[1:], counts, strict=False)]


def _digits(chain: Chain, images: Images, arm: str) -> list[int]:
    return chain.classify(chain.denoise(images) if arm == "always" else images).argmax(axis=1).tolist()


def _each(digits: Sequence[int]) -> list[list[int]]:
    """One body each."""
    return [[digit] for digit in digits]
