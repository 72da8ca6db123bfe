"""What a shadow costs users: `python -m tests.bench.shadow` (`make bench-shadow`). Four minutes, idle machine, wrk.

Gateways over the same two model servers, one without a shadow, others with a tenth of the calls shadowed: by the same
servers, by one that takes half a second for each call, by one that is not there. wrk presses one after the other, round
by round; printed is the median of the rounds, p99 beside that without a shadow. Exit status 1: one is more than 2 %
above it, or an answer was not a 200.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import numpy as np
import requests

from services.core.tensors import to_proto
from services.pb import tfserving_pb2 as pb
from tests.bench.gateway.wrk import Load, press
from tests.support.stack import ROOT, Child, Stack, free_port, running_stack

PICTURE = (ROOT / "docs/samples/noisy-7.png").read_bytes()
SHARE = "0.1"
SLOW_S = 0.5
MOST = 1.02  # p99 / p99 without a shadow
NONE = "no shadow"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.shadow", description=main.__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="of each run of wrk (default 10)")
    parser.add_argument("--rounds", type=int, default=6, help="of all gateways (default 6)")
    parser.add_argument("--connections", type=int, default=8, help="of wrk (default 8)")
    chosen = parser.parse_args(argv)
    with _gateways() as urls:
        loads: dict[str, list[Load]] = {name: [] for name in urls}
        for url in urls.values():
            _press(url, 1, chosen.connections)
        for number in range(chosen.rounds):
            order = list(urls) if number % 2 else list(reversed(urls))  # what drifts drifts for all alike
            for name in order:
                loads[name].append(_press(urls[name], chosen.seconds, chosen.connections))
        outcomes = {name: _outcomes(url) for name, url in urls.items()}
    return _print(loads, outcomes)


def _print(loads: Mapping[str, Sequence[Load]], outcomes: Mapping[str, str]) -> int:
    before = _median(loads[NONE], "p99_ms")
    all_well = True
    print(f"| shadow of {SHARE} | p50 ms | p99 ms | p99 / without | requests/s | not 200 | shadow's pictures |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, found in loads.items():
        p50, p99, rate = (_median(found, field) for field in ("p50_ms", "p99_ms", "requests_per_s"))
        wrong = sum(load.not_2xx + load.socket_errors for load in found)
        all_well &= p99 <= MOST * before and not wrong
        print(f"| {name} | {p50:.2f} | {p99:.2f} | {p99 / before:.3f} | {rate:,.0f} | {wrong} | {outcomes[name]} |")
    return 0 if all_well else 1


def _median(loads: Sequence[Load], field: str) -> float:
    return statistics.median(getattr(load, field) for load in loads)


def _press(url: str, seconds: int, connections: int) -> Load:
    return press(
        f"{url}/v1/recognize", connections=connections, seconds=seconds, body=PICTURE, content_type="image/png"
    )


def _outcomes(url: str) -> str:
    """What became of the shadow's pictures, as /metrics counts them."""
    prefix = "cleardigits_shadow_pictures_total{outcome="
    lines = [line for line in requests.get(f"{url}/metrics", timeout=5).text.splitlines() if line.startswith(prefix)]
    counts = {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in lines}
    return ", ".join(f"{count:.0f} {outcome}" for outcome, count in counts.items() if count) or "none"


@contextmanager
def _gateways() -> Iterator[dict[str, str]]:
    """Name -> address of each gateway, all ready."""
    with (
        ExitStack() as ends,
        tempfile.TemporaryDirectory() as lanes,
        running_stack(gateway={"ACCESS_LOG": "errors"}, lanes=Path(lanes)) as stack,
        _slow_server() as slow,
    ):
        own = {
            role: stack.gateway.environment[f"CLEARDIGITS_GATEWAY_{role}_TARGET"] for role in ("DENOISER", "CLASSIFIER")
        }
        dead = f"127.0.0.1:{free_port()}"
        shadows = {
            "by the same servers": own,
            f"slow, {1e3 * SLOW_S:.0f} ms a call": dict.fromkeys(own, slow),
            "dead": dict.fromkeys(own, dead),
        }
        urls = {NONE: stack.url}
        for name, targets in shadows.items():
            urls[name] = ends.enter_context(_shadowed(stack, targets))
        yield urls


@contextmanager
def _shadowed(stack: Stack, targets: Mapping[str, str]) -> Iterator[str]:
    port = free_port()
    settings = {"PORT": str(port), "SHADOW_SHARE": SHARE}
    settings |= {f"SHADOW_{role}_TARGET": target for role, target in targets.items()}
    own = {f"CLEARDIGITS_GATEWAY_{name}": value for name, value in settings.items()}
    child = Child("gateway", ["services.gateway"], {**stack.gateway.environment, **own})
    child.start()
    try:
        url, tries_until = f"http://127.0.0.1:{port}", time.monotonic() + 30
        while not _ready(url):
            if time.monotonic() > tries_until or not child.running():
                raise SystemExit(f"a gateway does not start:\n{child.output()}")
            time.sleep(0.1)
        yield url
    finally:
        child.close()


def _ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/readyz", timeout=2).status_code == 200
    except requests.RequestException:  # it is starting
        return False


@contextmanager
def _slow_server() -> Iterator[str]:
    """Answers every Predict after half a second, as a denoiser and a classifier in one."""

    def predict(request: pb.PredictRequest, context: grpc.ServicerContext) -> pb.PredictResponse:
        count = request.inputs["images"].tensor_shape.dim[0].size
        time.sleep(SLOW_S)
        response = pb.PredictResponse()
        response.model_spec.version.value = 1
        response.outputs["denoised"].CopyFrom(to_proto(np.zeros((count, 28, 28, 1), np.float32)))
        response.outputs["probabilities"].CopyFrom(to_proto(np.full((count, 10), 0.1, np.float32)))
        return response

    handler = grpc.unary_unary_rpc_method_handler(
        predict, pb.PredictRequest.FromString, pb.PredictResponse.SerializeToString
    )
    server = grpc.server(ThreadPoolExecutor(4))
    service = grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", {"Predict": handler})
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None)


if __name__ == "__main__":
    sys.exit(main())
