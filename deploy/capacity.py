"""From the last benchmark to cores: what a rate of requests needs, written into docs/OPERATIONS.md.

make capacity                   (reads docs/benchmarks/gateway.json, written by make bench)
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BENCHMARK = ROOT / "docs/benchmarks/gateway.json"
RUNBOOK = ROOT / "docs/OPERATIONS.md"
SECTION = re.compile(r"(<!-- capacity -->\n).*?(<!-- /capacity -->)", re.DOTALL)

CLIENTS = 64
TRANSPORT = "gRPC over TCP"  # what pods and containers speak to model servers; make bench measures others as well
SHARE = 0.6  # of what a core can do: the rest is for bursts, roll-outs and a lost node
PEAK = 3.0  # busiest minute over the day's average
PER_DAY = (1_000_000, 10_000_000, 100_000_000)
S_PER_DAY = 86_400


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """What a day's requests ask for."""

    per_day: int
    mean_per_s: float
    peak_per_s: float
    cores: int


def plan(per_day: int, *, per_core: float, share: float = SHARE, peak: float = PEAK) -> CapacityPlan:
    """Cores for gateway and model servers together; `per_core` is requests a second on one fully used core."""
    mean_per_s = per_day / S_PER_DAY
    return CapacityPlan(per_day, mean_per_s, peak * mean_per_s, math.ceil(peak * mean_per_s / (share * per_core)))


def table(found: Mapping[str, Any]) -> str:
    """The section of the runbook."""
    machine = found["machine"]
    load = found["transports"][TRANSPORT][str(CLIENTS)]
    per_core = load["requests_per_s"] / machine["cores"]
    rows = [plan(per_day, per_core=per_core) for per_day in PER_DAY]
    conditions = (
        f"From `make bench` of {machine['date']}: {machine['cpu']}, {machine['cores']} cores shared with the load "
        f"generator, {TRANSPORT}, services/model_server in the place of TensorFlow Serving; "
        f"{machine['models']}; "
        f"{load['requests_per_s']:,.0f} requests a second of one picture each from {CLIENTS} clients, p99 "
        f"{load['p99_ms']:.1f} ms, that is {per_core:,.0f} per core. Busiest minute {PEAK:g} times the average, cores "
        f"{SHARE:.0%} used."
    )
    return "\n".join(
        [
            conditions,
            "",
            "| requests a day | average/s | busiest minute/s | cores, gateways and model servers together |",
            "| --- | --- | --- | --- |",
            *(f"| {row.per_day:,} | {row.mean_per_s:,.0f} | {row.peak_per_s:,.0f} | {row.cores} |" for row in rows),
            "",
        ]
    )


def main() -> int:
    """Write the table; answers the exit status."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    if not BENCHMARK.exists():
        print(f"error: there is no {BENCHMARK.relative_to(ROOT)}; run make bench first", file=sys.stderr)
        return 1
    section = table(json.loads(BENCHMARK.read_text()))
    RUNBOOK.write_text(SECTION.sub(lambda match: match[1] + section + match[2], RUNBOOK.read_text()))
    print(section)
    return 0


if __name__ == "__main__":
    sys.exit(main())
