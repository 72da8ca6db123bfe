"""Damaged bodies against the decoding layer, in this process: `python -m tests.fuzz.bodies_run --bodies 100000`.

Every body is read as the gateway reads it, by the task of its path. It is read or refused (InvalidInputError and its
kinds). A second of CPU, or more memory than a decoder may take, is a finding: its seed is printed, and the exit status
is 1. Any other error, or a crash, ends the run at once; the seed was said last. A seed makes the same body again:
`--seed N --bodies 1`.
"""

from __future__ import annotations

import argparse
import collections
import random
import resource
import sys
import time
from dataclasses import asdict

from services.core.errors import InvalidInputError
from services.gateway.api.feedback import FEEDBACK, read_feedback
from services.gateway.api.tasks import TASKS
from services.gateway.decoding.process import Allowance
from services.gateway.limits import Limits
from tests.fuzz.bodies_mutate import Body, mutated

SLOW_S = 1.0  # of CPU
MORE_BYTES = 256 * 1024 * 1024


def read(body: Body) -> object:
    """What the gateway makes of a body: its decoder, or where it needs none the operation itself."""
    if body.path == FEEDBACK:
        return read_feedback(body.data)
    header = {name.lower(): value for name, value in body.headers.items()}
    arguments = {"encoding": header.get("content-encoding"), "limits": asdict(Limits())}
    if body.path in ("/v1/recognize", "/v1/read"):
        task, more = body.path.removeprefix("/v1/"), {"content_type": body.content_type, "query": {}}
    elif body.path.endswith("/infer"):
        task = "numbers" if "numbers" in body.path else "infer"
        more = {"header_length": header.get("inference-header-content-length")}
    else:
        task, more = "predict", {}
    return TASKS[task]([body.data], arguments | more, Allowance(time.monotonic() + 60))


def main(argv: list[str] | None = None) -> int:
    """Run; print counts, findings and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bodies", type=int, default=10_000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the first; the next has the next number (default: 0)")
    arguments = parser.parse_args(argv)
    counts: collections.Counter[str] = collections.Counter()
    findings, before = 0, _peak_bytes()
    for seed in range(arguments.seed, arguments.seed + arguments.bodies):
        body = mutated(random.Random(seed))
        print(f"\rseed {seed}", end="", file=sys.stderr)
        if len(body.data) > Limits().max_body_bytes:  # the front refuses it unread
            counts["larger than a body may be"] += 1
            continue
        started = time.process_time()
        try:
            read(body)
            outcome = "read"
        except InvalidInputError as error:
            outcome = type(error).__name__
        if (took_s := time.process_time() - started) > SLOW_S:
            outcome = f"finding: {took_s:.1f} s"
        counts[outcome] += 1
        if outcome.startswith("finding"):
            findings += 1
            print(f"seed {seed}: {body.kind}, {len(body.data)} bytes: {outcome}", flush=True)
    peak = _peak_bytes() - before
    print(f"{arguments.bodies} bodies from seed {arguments.seed}: {dict(counts)}; {peak >> 20} MiB more at the peak")
    return 1 if findings or peak > MORE_BYTES else 0


def _peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.exit(main())
