"""Users of the chain, for Locust. Every answer is checked: a wrong or mixed-up digit is a failure, however fast.

`make load` runs this with samples whose digits are known; see __main__.py for the options.
"""

import json
import random
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from gevent.pool import Pool
from locust import FastHttpUser, LoadTestShape, User, constant, events, task
from locust.env import Environment
from locust.exception import StopUser

from services.evaluator.data.samples import Samples
from services.evaluator.load.answers import line_mistake, mistake
from services.evaluator.load.lines import LineSamples
from services.evaluator.load.shapes import PROFILES, users_at

BULK_IMAGES = 64
ROUTE = "/v1/recognize?preprocess=none"
LINES_ROUTE = "/v1/read"
LINES_TOGETHER = 4
REFUSED = (429, 503)
LONGEST_PAUSE_S = 5.0


@events.init_command_line_parser.add_listener
def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--samples", default="reports/load/samples.npz", help="pictures and what they show")
    parser.add_argument("--load-profile", choices=[*PROFILES, "open"], default="mix", help="how load comes and goes")
    parser.add_argument("--seconds", type=float, default=60, help="how long")
    parser.add_argument("--peak", type=int, default=32, help="users at the peak")
    parser.add_argument("--rate", type=float, default=200, help="arrivals a second, for the open profile")


class Sent:
    """The samples, encoded once, shared by all users; lines in the profile of lines, digits in all others."""

    samples: Samples
    pngs: list[bytes]
    lines: LineSamples


@events.test_start.add_listener
def _load_samples(environment: Environment, **_: object) -> None:
    options = _options(environment)
    if options.load_profile == "lines":
        Sent.lines = LineSamples.read(Path(options.samples))
        return
    Sent.samples = Samples.read(Path(options.samples))
    Sent.pngs = Sent.samples.pngs()


class Caller(FastHttpUser):
    """Sends digits and checks what comes back."""

    abstract = True

    def ask(self, name: str, chosen: list[int], data: Any, content_type: str) -> None:
        expected = [int(Sent.samples.digits[at]) for at in chosen]
        self.send(ROUTE, name, data, content_type, lambda body: mistake(body, expected))

    def send(self, route: str, name: str, data: Any, content_type: str, judge: Callable[[bytes], str]) -> None:
        headers = {"Content-Type": content_type}
        with self.client.post(route, data=data, headers=headers, name=name, catch_response=True) as response:
            if response.status_code in REFUSED and "Retry-After" in response.headers:
                self.refused(name, response)
                return
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
                return
            if wrong := judge(response.content):
                response.failure(wrong)

    def refused(self, name: str, response: Any) -> None:
        """Overload answered politely: no failure where overload is meant, and the caller stays away for a while."""
        pause_s = min(float(str(response.headers["Retry-After"])), LONGEST_PAUSE_S)
        if _options(self.environment).load_profile in ("mix", "soak", "lines"):
            response.failure(f"refused with {response.status_code}")
        else:
            response.request_meta["name"] = f"{name}, refused"
            response.success()
        gevent.sleep(pause_s)


class Person(Caller):
    """Posts what people post, in about the mix they do, one request after the other."""

    wait_time = constant(0)

    @task(60)
    def one_png(self) -> None:
        at = random.randrange(len(Sent.pngs))
        self.ask("one PNG", [at], Sent.pngs[at], "image/png")

    @task(20)
    def one_json_array(self) -> None:
        at = random.randrange(len(Sent.pngs))
        body = {"images": [Sent.samples.pixels[at].tolist()], "scale": 255}
        self.ask("one JSON array", [at], json.dumps(body).encode(), "application/json")

    @task(10)
    def multipart_upload(self) -> None:
        chosen = random.choices(range(len(Sent.pngs)), k=3)
        self.ask("multipart, 3 PNGs", chosen, *multipart([Sent.pngs[at] for at in chosen]))

    @task(10)
    def bulk(self) -> None:
        chosen = random.choices(range(len(Sent.pngs)), k=BULK_IMAGES)
        body = Sent.samples.pixels[chosen].tobytes()
        self.ask(f"{BULK_IMAGES} images, raw bytes", chosen, body, "application/octet-stream")


class LineCaller(Caller):
    """Posts lines of digits, mostly one at a time."""

    wait_time = constant(0)

    @task(80)
    def one_line(self) -> None:
        at = random.randrange(len(Sent.lines.pngs))
        self.ask_lines("one line", [at], Sent.lines.pngs[at], "image/png")

    @task(20)
    def several_lines(self) -> None:
        chosen = random.choices(range(len(Sent.lines.pngs)), k=LINES_TOGETHER)
        body, content_type = multipart([Sent.lines.pngs[at] for at in chosen])
        self.ask_lines(f"{LINES_TOGETHER} lines", chosen, body, content_type)

    def ask_lines(self, name: str, chosen: list[int], data: bytes, content_type: str) -> None:
        expected = [Sent.lines.numbers[at] for at in chosen]
        self.send(LINES_ROUTE, name, data, content_type, lambda body: line_mistake(body, expected))


class Arrivals(Caller):
    """Open loop: PNGs arrive at a constant rate (Poisson), whether or not earlier ones were answered.

    Latency counts from the moment a request was due, so a slow service cannot hide by slowing its clients down; how
    late requests were sent is reported as a row of its own, and a run that fell far behind says more about this client.
    """

    fixed_count = 1
    concurrency = 512  # connections
    wait_time = constant(0)

    @task
    def arrive(self) -> None:
        pool = Pool(self.concurrency)
        dice = random.Random(1)
        options = _options(self.environment)
        due = time.perf_counter()
        ends = due + options.seconds
        while (due := due + dice.expovariate(options.rate)) < ends:
            gevent.sleep(max(0.0, due - time.perf_counter()))
            pool.spawn(self._one, due)  # waits when all connections are busy: that, too, is falling behind
        pool.join()
        raise StopUser

    def _one(self, due: float) -> None:
        self._note("sent behind schedule by", time.perf_counter() - due)
        at = random.randrange(len(Sent.pngs))
        self.ask("one PNG", [at], Sent.pngs[at], "image/png")
        self._note("one PNG, from when it was due", time.perf_counter() - due)

    def _note(self, name: str, seconds: float) -> None:
        self.environment.events.request.fire(
            request_type="OPEN", name=name, response_time=1e3 * seconds, response_length=0, exception=None, context={}
        )


class Shape(LoadTestShape):
    """How many users there are at each moment, and of which kind."""

    def tick(self) -> tuple[int, float, list[type[User]] | None] | None:
        assert self.runner is not None
        options = _options(self.runner.environment)
        if self.get_run_time() > options.seconds:
            return None
        if options.load_profile == "open":
            return 1, 1, [Arrivals]
        users = users_at(options.load_profile, self.get_run_time() / options.seconds, options.peak)
        return users, max(1, options.peak), [LineCaller if options.load_profile == "lines" else Person]


def multipart(pngs: list[bytes]) -> tuple[bytes, str]:
    """A form with one file for each PNG."""
    boundary = "cleardigits-load"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{at}.png"\r\n'
        "Content-Type: image/png\r\n\r\n".encode() + png + b"\r\n"
        for at, png in enumerate(pngs)
    ]  # fmt: skip
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _options(environment: Environment) -> Namespace:
    assert environment.parsed_options is not None  # Locust has parsed its command line
    return environment.parsed_options
