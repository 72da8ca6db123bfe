"""Keeps pictures as the models got them, beside the answer: every rejected one and a share of the rest.

A request only adds to a bounded queue; a thread writes. A full queue, a full disk or a locked file costs captures,
which are counted, and never a request.
"""

import asyncio
import logging
import queue
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.core.errors import OverloadedError
from services.gateway.metrics import Metrics
from services.gateway.reading.chain import Reading
from services.runtime.captures import Capture, CaptureStore

log = logging.getLogger(__name__)

QUEUE_JOBS = 256
MOST_OF_A_REQUEST = 64  # images: one request of ten thousand must not push out everybody else's
ON_ITS_WAY_S = 0.1, 0.2, 0.4  # pauses, while a picture may be on its way from another worker to the file
RETRY_S = 5.0  # after a failure, before the file is opened again
_STOP = None


@dataclass(frozen=True, slots=True)
class _Label:
    request_id: str
    position: int
    label: int
    found: Callable[[bool | sqlite3.Error], None]


class Captures:
    """One per worker process; the file is shared by all of them."""

    def __init__(
        self, open_store: Callable[[], CaptureStore], *, share: float, min_confidence: float, metrics: Metrics
    ) -> None:
        self._open_store = open_store
        self._share = share
        self._min_confidence = min_confidence
        self._metrics = metrics
        self._jobs: queue.Queue[list[Capture] | _Label | None] = queue.Queue(QUEUE_JOBS)
        self._store: CaptureStore | None = None
        self._retry_at_s = 0.0
        self._thread = threading.Thread(target=self._write, name="captures", daemon=True)
        self._thread.start()

    def offer(self, request_id: str, images: np.ndarray, reading: Reading) -> None:
        """Keep what is worth keeping of an answered request."""
        chosen = self._chosen(reading)
        if not chosen:
            return
        try:
            self._jobs.put_nowait(_captures(request_id, images, reading, chosen, self._min_confidence))
        except queue.Full:
            self._metrics.captures.labels("dropped").inc(len(chosen))

    async def label(self, request_id: str, position: int, label: int) -> bool:
        """Store a true label; False when that image was not kept. Waits behind the captures offered before it.

        Those that another worker was offered may come a moment later: it looks again after each pause.
        """
        for pause_s in ON_ITS_WAY_S:
            if await self._label(request_id, position, label):
                return True
            await asyncio.sleep(pause_s)
        return await self._label(request_id, position, label)

    async def _label(self, request_id: str, position: int, label: int) -> bool:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()

        def found(result: bool | sqlite3.Error) -> None:
            loop.call_soon_threadsafe(_settle, future, result)

        try:
            self._jobs.put_nowait(_Label(request_id, position, label, found))
            return await future
        except (queue.Full, sqlite3.Error) as exc:
            raise OverloadedError("corrections cannot be stored right now", retry_after_s=RETRY_S) from exc

    async def close(self) -> None:
        """Write what waits, and end the thread."""
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        self._jobs.put(_STOP)
        self._thread.join()

    def _chosen(self, reading: Reading) -> list[int]:
        rejected = reading.certainties < self._min_confidence
        kept = rejected | (np.random.default_rng(random.getrandbits(64)).random(len(rejected)) < self._share)
        return np.flatnonzero(kept)[:MOST_OF_A_REQUEST].tolist()

    def _write(self) -> None:
        while (job := self._jobs.get()) is not _STOP:
            try:
                self._do(job)
            except sqlite3.Error as exc:
                self._failed(job, exc)
        if self._store is not None:
            self._store.close()

    def _do(self, job: list[Capture] | _Label) -> None:
        if self._store is None:
            if time.monotonic() < self._retry_at_s:
                raise sqlite3.OperationalError("the file could not be used a moment ago")
            self._store = self._open_store()
        if isinstance(job, _Label):
            job.found(self._store.label(job.request_id, job.position, job.label))
        else:
            self._store.add(job, now_s=time.time())
            self._metrics.captures.labels("kept").inc(len(job))

    def _failed(self, job: list[Capture] | _Label, exc: sqlite3.Error) -> None:
        if isinstance(job, _Label):
            job.found(exc)
        else:
            self._metrics.captures.labels("failed").inc(len(job))
        if time.monotonic() >= self._retry_at_s:
            log.warning("captures cannot be written", extra={"reason": str(exc)})
            self._retry_at_s = time.monotonic() + RETRY_S
        if self._store is not None:
            self._store.close()
            self._store = None


def open_in(folder: Path, *, max_bytes: int, max_age_s: float) -> CaptureStore:
    """The store in a folder, which is made if it is not there; sqlite3.Error when it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise sqlite3.OperationalError(f"{folder}: {exc.strerror}") from exc
    return CaptureStore(folder, max_bytes=max_bytes, max_age_s=max_age_s)


def _captures(
    request_id: str, images: np.ndarray, reading: Reading, chosen: list[int], min_confidence: float
) -> list[Capture]:
    pixels = images[chosen]
    if pixels.dtype != np.uint8:
        pixels = np.rint(255 * pixels).astype(np.uint8)
    now_s = time.time()
    return [
        Capture(
            request_id=request_id,
            position=at,
            at_s=now_s,
            picture=picture.tobytes(),
            digit=int(reading.digits[at]),
            confidence=float(reading.confidences[at]),
            is_digit=None if reading.is_digit is None else float(reading.is_digit[at]),
            accepted=bool(reading.certainties[at] >= min_confidence),
            denoiser=reading.denoiser_version if reading.applied[at] else None,
            classifier=reading.classifier_version,
        )
        for at, picture in zip(chosen, pixels, strict=True)
    ]


def _settle(future: "asyncio.Future[bool]", result: bool | sqlite3.Error) -> None:
    if future.done():  # its request has met its deadline
        return
    if isinstance(result, sqlite3.Error):
        future.set_exception(result)
    else:
        future.set_result(result)
