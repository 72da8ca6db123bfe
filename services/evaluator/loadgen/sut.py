"""The chain as MLPerf LoadGen's "system under test": queries in, HTTP requests from waiting threads, digits back.

LoadGen's issue call must not block: it hands queries to threads, each with a connection that is kept alive. urllib3
is called directly, without `requests` around it: on a machine shared with the chain, a lean client is a fair one.
"""

from __future__ import annotations

import array
import json
import queue
import threading
from collections import Counter
from collections.abc import Sequence

import mlperf_loadgen as loadgen
import urllib3

from services.evaluator.data.samples import Samples

ROUTE = "/v1/recognize?preprocess=none"
HEALTH = "/healthz"
NO_ANSWER = 255  # the byte that stands for a digit when there is none
Job = list[tuple[int, int]]  # (LoadGen's id of the query's sample, the sample's index)


class HttpSut:
    """Answers LoadGen's queries through the gateway. What it could not answer, or wrongly, is counted in `mistakes`."""

    def __init__(
        self,
        url: str,
        samples: Samples,
        *,
        threads: int,
        images_per_request: int = 1,
        timeout_s: float = 30.0,
        api_key: str = "",
        empty: bool = False,
    ) -> None:
        """With `empty` nothing is read: the same client asks for /healthz, which shows what it takes itself."""
        self._samples, self._pngs = samples, samples.pngs()
        self._images_per_request = images_per_request
        self._empty = empty
        self._pool = urllib3.connection_from_url(url, maxsize=threads, block=True, timeout=timeout_s, retries=False)
        kind = "image/png" if images_per_request == 1 else "application/octet-stream"
        self._headers = {"Content-Type": kind, **({"Authorization": f"Bearer {api_key}"} if api_key else {})}
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self.mistakes: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def issue(self, queries: Sequence[loadgen.QuerySample]) -> None:
        """Called by LoadGen, on its own thread: pass on and return."""
        size = self._images_per_request
        job = [(query.id, query.index) for query in queries]
        for start in range(0, len(job), size):
            self._jobs.put(job[start : start + size])

    def flush(self) -> None:
        """Nothing is held back, so there is nothing to flush."""

    def close(self) -> None:
        """End the threads and their connections."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        self._pool.close()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            indices = [index for _, index in job]
            digits, mistake = self._ask(indices)
            wrong = sum(
                int(digit) != int(self._samples.digits[index]) for digit, index in zip(digits, indices, strict=True)
            )
            if mistake or wrong:
                with self._lock:
                    self.mistakes[mistake or "wrong digit"] += len(job) if mistake else wrong
            replies = array.array("B", digits)
            address, _ = replies.buffer_info()  # `replies` outlives the call below, and with it the memory
            loadgen.QuerySamplesComplete(
                [loadgen.QuerySampleResponse(identity, address + at, 1) for at, (identity, _) in enumerate(job)]
            )

    def _ask(self, indices: list[int]) -> tuple[list[int], str]:
        """Digits, and what went wrong if anything did."""
        single = self._images_per_request == 1
        body = self._pngs[indices[0]] if single else self._samples.pixels[indices].tobytes()
        nothing = [NO_ANSWER] * len(indices)
        try:
            if self._empty:
                response = self._pool.urlopen("GET", HEALTH)
            else:
                response = self._pool.urlopen("POST", ROUTE, body=body, headers=self._headers)
        except urllib3.exceptions.HTTPError as exc:
            return nothing, type(exc).__name__
        if response.status != 200:
            return nothing, f"status {response.status}"
        if self._empty:
            return self._samples.digits[indices].tolist(), ""
        digits = [result["digit"] for result in json.loads(response.data)["results"]]
        return (digits, "") if len(digits) == len(indices) else (nothing, "wrong number of results")
