"""Windows of the chain and its peers -> docs/benchmarks/peers.md, targets beside them."""

from collections.abc import Mapping
from typing import Any

from tests.bench.gateway.report import table

LOADS = ("1", "16", "64", "256", "bulk")
# share of the better of the two apps, at each load
TARGETS = {
    "ours, lane": (0.6, 0.85, 1.0, 1.1, 1.0),
    "ours, gRPC over TCP": (0.4, 0.7, 0.85, 1.0, 0.9),
}
MOST_CPU_OF_FLOOR = 1.25
OPEN_LOOP = OURS, APP = "ours, lane", "FastAPI, models inside, micro-batching"
OPEN_RATE, MOST_P50, MOST_P99 = "200", 1.3, 1.0  # of the app's


def targets(found: Mapping[str, Any]) -> list[tuple[str, str, str, bool]]:
    """Rows of (measure, target, measured, met)."""
    servers = found["servers"]
    apps = [name for name in servers if name not in TARGETS]
    rows = []
    for name, shares in TARGETS.items():
        for load, least in zip(LOADS, shares, strict=True):
            best = max(servers[app][load]["requests_per_s"] for app in apps)
            share = servers[name][load]["requests_per_s"] / best
            rows.append((f"{name}, {_title(load)}", f"≥ {least:.2f}", f"{share:.2f}", share >= least))
    lane = servers["ours, lane"]["64"]
    of_floor, tail = lane["cpu_us"] / found["floor_us"]["sum"], lane["p99_ms"] / lane["p50_ms"]
    rows.append(
        (
            "CPU of a request at 64 clients, all processes, against its floor",
            f"≤ {MOST_CPU_OF_FLOOR}",
            f"{of_floor:.2f}",
            of_floor <= MOST_CPU_OF_FLOOR,
        )
    )
    open_loop = found["open_loop"]
    for share, most in (("p50_ms", MOST_P50), ("p99_ms", MOST_P99)):
        of_app = open_loop[OURS][OPEN_RATE][share] / open_loop[APP][OPEN_RATE][share]
        name = f"{share[:3]} at {OPEN_RATE} requests/s at random times, of the app with micro-batching"
        rows.append((name, f"≤ {most}", f"{of_app:.2f}", of_app <= most))
    rows.append(("p99 / p50 at 64 clients", "≤ 2.0", f"{tail:.1f}", tail <= 2.0))
    return rows


def markdown(found: Mapping[str, Any]) -> str:
    """The page for people."""
    machine, servers = found["machine"], found["servers"]
    paragraph = (
        f"`make bench-peers` wrote this page and [peers.json](peers.json) on {machine['date']}: {machine['cpu']}, "
        f"{machine['cores']} cores shared by wrk and the server that it presses; Python {machine['python']}; "
        f"{machine['models']}. All servers are up at once and are pressed in turn: medians of {machine['rounds']} "
        f"windows of {machine['seconds']} s, one PNG of a noisy digit a request; bulk is {found['bulk_images']} raw "
        "pictures a request from four clients, in images/s. The apps are "
        "[tests/bench/peers/app.py](../../tests/bench/peers/app.py): the same engine, engine options and pair, two "
        "uvicorn workers, none of the chain's limits, deadlines, logs and metrics."
    )
    rates = [
        (name, *(_rate(by[load], load, found["bulk_images"]) for load in LOADS), _lost(by))
        for name, by in servers.items()
    ]
    cpu = [
        (name, *(f"{by[load]['cpu_us']:,.0f}" for load in LOADS[:-1]), f"{found['pss_mb'][name]:.0f}")
        for name, by in servers.items()
    ]
    latency = [
        (name, *(f"{by[load]['p50_ms']:.2f} / {by[load]['p99_ms']:.2f}" for load in LOADS[:-1]))
        for name, by in servers.items()
    ]
    floor = [(part.replace("_", " "), f"{us:.0f} µs") for part, us in found["floor_us"].items()]
    open_rates = [
        (name, *(f"{each['p50_ms']:.2f} / {each['p99_ms']:.2f}" for each in by.values()))
        for name, by in found["open_loop"].items()
    ]
    verdicts = [(name, goal, value, "met" if met else "**missed**") for name, goal, value, met in targets(found)]
    clients = [f"{load} client{'s' if load != '1' else ''}" for load in LOADS[:-1]]
    return (
        "\n\n".join(
            (
                "# Beside an app with the models inside",
                paragraph,
                "Requests/s, the best window in brackets:",
                table(("server", *clients, "bulk", "lost"), rates),
                "p50 / p99 in ms:",
                table(("server", *clients), latency),
                "Open loop: requests at random times (Poisson), p50 / p99 in ms from when each was due:",
                table(("server", *(f"{rate} requests/s" for rate in found["open_loop"][OURS])), open_rates),
                "CPU µs a request, all processes, and their memory (PSS):",
                table(("server", *clients, "MB"), cpu),
                "The floor of one request's CPU, each part measured alone in the same run:",
                table(("part", "CPU"), floor),
                "Share of the better app's requests/s, and what a request costs:",
                table(("measure", "target", "measured", ""), verdicts),
            )
        )
        + "\n"
    )


def _lost(by: Mapping[str, Mapping[str, float]]) -> int:
    """Requests lost at all loads."""
    return int(sum(each["lost"] for each in by.values()))


def _rate(summary: Mapping[str, float], load: str, bulk_images: int) -> str:
    times = bulk_images if load == "bulk" else 1
    return f"{times * summary['requests_per_s']:,.0f} ({times * summary['best_requests_per_s']:,.0f})"


def _title(load: str) -> str:
    return "bulk" if load == "bulk" else f"{load} client{'s' if load != '1' else ''}"
