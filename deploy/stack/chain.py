"""The chain as a client sees it: is it ready, and what does it answer to a noisy digit?"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from deploy.stack.errors import StackError
from deploy.stack.settings import ROOT

SAMPLE = "docs/samples/noisy-7.png"


def curl_line(url: str) -> str:
    """The request of `recognize`, to be typed in the repository's folder."""
    return f"curl -H 'Content-Type: image/png' --data-binary @{SAMPLE} {url}/v1/recognize"


def answers(url: str, timeout_s: float = 1.0) -> bool:
    """Whether a GET of this URL succeeds."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as response:
            return response.status == 200
    except OSError:  # refused, timed out, or an HTTP error: not yet
        return False


def what_is_not_ready(url: str, timeout_s: float = 1.0) -> str:
    """What /readyz complains of; empty when the chain is ready."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=timeout_s):
            return ""
    except urllib.error.HTTPError as exc:
        return _complaints(exc.read())
    except OSError:
        return "the gateway does not answer"


def _complaints(body: bytes) -> str:
    try:
        found = json.loads(body)
        states = [state for state in found["models"].values() if state != "available"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return body[:200].decode(errors="replace")
    return "; ".join(states) or "the gateway is about to stop"


def recognize(url: str, sample: Path = ROOT / SAMPLE, timeout_s: float = 5.0) -> str | None:
    """The chain's answer to the sample, or None while there is none."""
    request = urllib.request.Request(
        f"{url}/v1/recognize", data=sample.read_bytes(), headers={"Content-Type": "image/png"}
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            return response.read().decode().strip()
    except urllib.error.HTTPError as exc:
        if exc.code in (502, 503, 504):
            return None
        if exc.code == 401:  # API keys are switched on: it is up, and the person has a key
            return "401: this gateway asks for an API key"
        raise StackError(f"the gateway answers {exc.code} to the sample: {_detail(exc.read())}") from exc
    except OSError:
        return None


def wait_until(done: Callable[[], bool], *, timeout_s: float, every_s: float = 0.02) -> bool:
    """Ask `done` again and again until it holds or the time is up."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True


def _detail(body: bytes) -> str:
    try:
        return json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
