"""Pictures that are known by their answers, in bodies of 1 to 300, from many clients at once: `make tagged`.

Each picture has probabilities of its own, computed in this process; every result has to be those of the picture at its
place, in the request that its id names. Exit status 1 when any was mixed up, or refused for another reason than load.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from services.evaluator.in_process import InProcessChain
from tests.support.digits import draw_digits
from tests.support.stack import MODELS, SHIPPED, running_stack

MOST_IMAGES = 300
APART = 1e-3  # between the probabilities of any two pictures; what rounding and engines do is a hundredth of it
NEAR = 1e-4
_CANDIDATES = 6000
_PATH = "/v1/recognize?preprocess=none&include=probabilities"
_TIMEOUT_MS = 60_000
_REFUSED = (429, 503, 504)  # for want of room or time


@dataclass(frozen=True)
class Known:
    """Pictures (n, 28, 28) of 8 bits, and the probabilities (n, 10) that tell each from all others."""

    pixels: np.ndarray
    probabilities: np.ndarray


@dataclass
class Counts:
    """What came back, over all clients."""

    pictures: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    mistakes: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def choose(seed: int) -> Known:
    """Two digits over each other, more or less of each: the models answer something else for each."""
    rng = np.random.default_rng(seed)
    first, second = (draw_digits(rng.integers(0, 10, _CANDIDATES), rng).astype(np.float32) for _ in range(2))
    share = rng.random((_CANDIDATES, 1, 1), np.float32)
    noisy = share * first + (1 - share) * second + rng.normal(0, 30, first.shape).astype(np.float32)
    pixels = np.rint(np.clip(noisy, 0, 255)).astype(np.uint8)
    chain = InProcessChain(MODELS, denoiser=SHIPPED, classifier=SHIPPED)
    images = (pixels[..., np.newaxis] / np.float32(255)).astype(np.float32)
    probabilities = chain.classify(chain.denoise(images))
    chosen = distinct(probabilities)
    return Known(pixels[chosen], probabilities[chosen])


def distinct(probabilities: np.ndarray) -> np.ndarray:
    """Places of rows that are further than APART from all others."""
    alone = [
        np.count_nonzero(np.abs(probabilities - row).max(axis=1) <= APART) == 1  # itself
        for row in probabilities
    ]
    return np.flatnonzero(alone)


def mistake(results: Sequence[dict[str, object]], expected: np.ndarray, known: Known) -> str:
    """What is wrong with the results of pictures that should have these probabilities; empty when nothing is."""
    if [result["index"] for result in results] != list(range(len(expected))):
        return f"{len(expected)} pictures, but results numbered {[result['index'] for result in results][:5]}"
    found = np.array([result["probabilities"] for result in results], np.float32)
    gaps = np.abs(found - expected).max(axis=1)
    wrong = np.flatnonzero(gaps > NEAR)
    if not len(wrong):
        return ""
    place = wrong[0]
    others = np.abs(known.probabilities - found[place]).max(axis=1)
    of = f"those of picture {others.argmin()}" if others.min() <= NEAR else "those of no picture"
    return f"{len(wrong)} of {len(expected)} are wrong; the first, at {place}, by {gaps[place]:.4f}: {of}"


def send(url: str, known: Known, *, pictures: int, clients: int, seed: int) -> Counts:
    """Until so many pictures have been answered, or something was mixed up."""
    counts = Counts()
    threads = [
        threading.Thread(target=_client, args=(url, known, counts, pictures, f"{seed}-{client}", seed + client))
        for client in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts


def _client(url: str, known: Known, counts: Counts, pictures: int, name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=2 * _TIMEOUT_MS / 1e3)
    number = 0
    while counts.pictures < pictures and not counts.mistakes:
        size = int(MOST_IMAGES ** rng.random()) if rng.random() < 0.5 else int(rng.integers(1, MOST_IMAGES + 1))
        chosen = rng.integers(0, len(known.pixels), size)
        request_id = f"{name}-{number}"
        headers = {
            "Content-Type": "application/octet-stream",
            "Request-Timeout-Ms": str(_TIMEOUT_MS),
            "X-Request-ID": request_id,
        }
        connection.request("POST", _PATH, known.pixels[chosen].tobytes(), headers)
        answer = connection.getresponse()
        body = answer.read()
        wrong = ""
        if answer.status == 200:
            document = json.loads(body)
            wrong = mistake(document["results"], known.probabilities[chosen], known)
            if (answer.headers["X-Request-ID"], document["request_id"]) != (request_id, request_id):
                wrong = f"the answer is that of {answer.headers['X-Request-ID']}"
        elif answer.status not in _REFUSED:
            wrong = f"{answer.status}: {body[:200]!r}"
        with counts.lock:
            counts.statuses[answer.status] += 1
            counts.pictures += size * (answer.status == 200)
            if wrong:
                counts.mistakes.append(f"request {request_id}: {wrong}")
        if answer.status in _REFUSED:
            time.sleep(rng.uniform(0.01, 0.1))
        number += 1
    connection.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Choose pictures, send them to a stack of its own, report."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.tagged", description=__doc__)
    parser.add_argument("--pictures", type=int, default=1_000_000, help="in all (default: 1000000)")
    parser.add_argument("--clients", type=int, default=64, help="at the same time (default 64)")
    parser.add_argument("--workers", type=int, default=2, help="of the gateway (default 2)")
    parser.add_argument("--seed", type=int, default=1, help="other seed, other pictures (default 1)")
    chosen = parser.parse_args(argv)
    known = choose(chosen.seed)
    queue = str(chosen.clients * MOST_IMAGES)  # that of each worker: no client need come again
    patience = str(_TIMEOUT_MS / 1e3)
    settings = {"QUEUE_IMAGES": queue, "PREDICT_TIMEOUT_S": patience, "ACCESS_LOG": "errors"}
    settings["WORKERS"] = str(chosen.workers)
    with tempfile.TemporaryDirectory() as lanes, running_stack(gateway=settings, lanes=Path(lanes)) as stack:
        started_s = time.monotonic()
        counts = send(stack.url, known, pictures=chosen.pictures, clients=chosen.clients, seed=chosen.seed)
        took_s = time.monotonic() - started_s
    statuses = ", ".join(f"{status} {count:,}" for status, count in sorted(counts.statuses.items()))
    print(
        f"{counts.pictures:,} pictures of {len(known.pixels):,} that differ, {chosen.clients} clients, {took_s:.0f} s: "
        f"{statuses}; {len(counts.mistakes)} mistakes"
    )
    print(*counts.mistakes, sep="\n", end="")
    return 1 if counts.mistakes or not counts.pictures else 0


if __name__ == "__main__":
    sys.exit(main())
