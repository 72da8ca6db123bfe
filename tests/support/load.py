"""Clients that post the same noisy digit over and over and remember every answer."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType

import requests

from tests.support.stack import ROOT

SAMPLE = ROOT / "docs/samples/noisy-7.png"


@dataclass(frozen=True)
class Outcome:
    """One request: when it was sent, how long it took, and its digit, status or error."""

    sent: float  # time.monotonic()
    seconds: float
    what: str  # "7" for a digit, "503" for a refusal, "ConnectionError" and the like for none at all
    versions: tuple[int, int] | None = None  # of denoiser and classifier


@dataclass
class Load:
    """`with Load(url) as load:` keeps the clients posting until the block ends."""

    url: str
    clients: int = 8
    pause_s: float = 0.0  # of each client after an answer; a little leaves the processors to others
    outcomes: list[Outcome] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> "Load":
        self._threads = [threading.Thread(target=self._post, daemon=True) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def run_for(self, seconds: float) -> None:
        time.sleep(seconds)

    def counts(self) -> Counter[str]:
        """How often each outcome came."""
        return Counter(outcome.what for outcome in self.outcomes)

    def failures(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.what != "7"]

    def _post(self) -> None:
        picture = SAMPLE.read_bytes()
        with requests.Session() as session:
            while not self._stopping.is_set():
                sent = time.monotonic()
                versions = None
                try:
                    answer = session.post(
                        f"{self.url}/v1/recognize", data=picture, headers={"Content-Type": "image/png"}, timeout=30
                    )
                    what = str(answer.status_code)
                    if answer.ok:
                        read = answer.json()
                        what = str(read["results"][0]["digit"])
                        versions = tuple(read["models"][name]["version"] for name in ("denoiser", "classifier"))
                except requests.RequestException as exc:
                    what = type(exc).__name__
                self.outcomes.append(Outcome(sent, time.monotonic() - sent, what, versions))
                # A refused client waits a moment, as Retry-After asks of it.
                time.sleep(self.pause_s if what == "7" else max(self.pause_s, 0.05))
