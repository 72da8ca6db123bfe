"""Measurements -> docs/benchmarks/gateway.json and gateway.md, targets beside them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.stack import LANE

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs/benchmarks"
MOST_OF_FLOOR = 1.25
LANE_AT_1, LANE_AT_64 = 1.3, 1.15  # below both, gRPC alone would do: the lane could go


def targets(found: Mapping) -> list[tuple[str, str, str, bool]]:
    """Rows of (measure, target, measured, met)."""
    load = {each["connections"]: each for each in found["gateway"]["loads"]}
    c64, embedded = load[64], found["embedded"]["requests_per_s"]
    share, tail = c64["requests_per_s"] / embedded, c64["p99_ms"] / c64["p50_ms"]
    floors = found["floors"]
    floor_ms = floors["empty_endpoint_p50_ms"] + floors["compute_ms"] + 2 * floors["hop_ms"]
    alone = load[1]["p50_ms"] / floor_ms
    transports = found["transports"]
    lane_1, lane_64 = (_ahead(transports, count) for count in ("1", "64"))
    bulk = found["gateway"]["bulk_images_per_s"] / floors["bulk_images_per_s"]
    lost = sum(each["not_2xx"] + each["socket_errors"] for each in load.values())
    many = min(load[256]["requests_per_s"], load[1000]["requests_per_s"]) / c64["requests_per_s"]
    cpu = found["gateway"]["all_cpu_us_per_request"] / floors["request_cpu_us"]
    cold_s, memory = found["stack"]["first_answer_s"], found["stack"]["pss_mb"]
    return [
        (
            "64 clients: share of the requests/s with both models in the gateway",
            "≥ 75 %",
            f"{share:.0%}",
            share >= 0.75,
        ),
        ("64 clients: p99 / p50", "≤ 3", f"{tail:.1f}", tail <= 3),
        ("requests lost, all loads", "0", str(lost), lost == 0),
        (
            "1 client: p50 over its floor (empty handler, both models, two no-op gRPC hops)",
            f"≤ {MOST_OF_FLOOR}",
            f"{alone:.2f}",
            alone <= MOST_OF_FLOOR,
        ),
        (
            "64 clients: CPU of a request, all processes, over its floor (empty handler, models, PNG, messages, JSON)",
            f"≤ {MOST_OF_FLOOR}",
            f"{cpu:.2f}",
            cpu <= MOST_OF_FLOOR,
        ),
        (
            "the lane's requests/s over the better gRPC's, at 1 client or at 64",
            f"≥ {LANE_AT_1} or {LANE_AT_64}",
            f"{lane_1:.2f}, {lane_64:.2f}",
            lane_1 >= LANE_AT_1 or lane_64 >= LANE_AT_64,
        ),
        ("10,000 images in one request, share of in-process images/s", "≥ 85 %", f"{bulk:.0%}", bulk >= 0.85),
        ("256 and 1,000 connections, share of the requests/s at 64", "≥ 90 %", f"{many:.0%}", many >= 0.9),
        ("cold start of the stack to its first right answer", "≤ 2 s", f"{cold_s:.1f} s", cold_s <= 2),
        ("memory of the whole stack (PSS)", "≤ 250 MB", f"{memory:.0f} MB", memory <= 250),
    ]


def _ahead(transports: Mapping, clients: str) -> float:
    """The lane's requests/s over those of the better gRPC."""
    others = [by[clients]["requests_per_s"] for name, by in transports.items() if name != LANE]
    return transports[LANE][clients]["requests_per_s"] / max(others)


def write(found: Mapping, folder: Path = FOLDER) -> str:
    """Write both files; the text of the Markdown one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gateway.json").write_text(json.dumps(found, indent=2) + "\n")
    text = markdown(found)
    (folder / "gateway.md").write_text(text)
    return text


def markdown(found: Mapping) -> str:
    """The page for people."""
    machine, floors, gateway = found["machine"], found["floors"], found["gateway"]
    bulk, cores = f"{machine['bulk_images']:,} images", machine["cores"]
    beside = {
        "CPU of a request at 64 clients, all processes": f"{gateway['all_cpu_us_per_request']:.0f} µs",
        "of it the gateway": f"{gateway['cpu_us_per_request']:.0f} µs",
        "its floor": f"{floors['request_cpu_us']:.0f} µs",
        "the gateway with both models in its own processes, 64 clients": per_s(found["embedded"]["requests_per_s"]),
        "an empty HTTP handler, 1 client, p50": f"{floors['empty_endpoint_p50_ms']:.2f} ms",
        "an empty HTTP handler, 64 clients": per_s(floors["empty_endpoint_requests_per_s"]),
        "both models on one image, in-process": f"{floors['compute_ms']:.2f} ms",
        f"both models on {bulk}, in-process, {cores} threads": per_s(floors["bulk_images_per_s"], "images"),
        f"the gateway, {bulk} in one request": per_s(gateway["bulk_images_per_s"], "images"),
        "one no-op gRPC hop with an image each way": f"{floors['hop_ms']:.2f} ms",
    }
    paragraph = (
        f"`make bench` wrote this page and [gateway.json](gateway.json) on {machine['date']}: {machine['cpu']}, "
        f"{cores} cores shared by wrk, {machine['workers']} gateway workers and two model servers, as `make up` has "
        "them: every figure is of the lane between them unless it names another transport. "
        f"Python {machine['python']}; {machine['models']}. Closed loop, keep-alive, one PNG of a noisy digit each; "
        f"medians of {machine['rounds']} rounds of {machine['seconds']} s. "
        "Ratios within one run count more than figures."
    )
    verdicts = [(name, goal, value, "met" if met else "**missed**") for name, goal, value, met in targets(found)]
    counts = list(found["transports"][LANE])
    transports = [(name, *(_cell(by[count]) for count in counts)) for name, by in found["transports"].items()]
    loads = [
        (
            each["connections"],
            f"{each['requests_per_s']:,.0f}",
            *(f"{each[share]:.2f} ms" for share in ("p50_ms", "p90_ms", "p99_ms")),
            each["not_2xx"] + each["socket_errors"],
        )
        for each in gateway["loads"]
    ]
    return (
        "\n\n".join(
            (
                "# The gateway, measured",
                paragraph,
                table(("measure", "target", "measured", ""), verdicts),
                table(("connections", "requests/s", "p50", "p90", "p99", "lost"), loads),
                "The same model servers behind gateways that differ in the transport alone, in turn: requests/s, "
                "p50 / p99, CPU of a request in all processes:",
                table(("transport", *(f"{count} client{'s' * (count != '1')}" for count in counts)), transports),
                table(("beside it, on the same machine in the same minutes", ""), list(beside.items())),
            )
        )
        + "\n"
    )


def _cell(of: Mapping[str, float]) -> str:
    """One transport at one load."""
    return f"{of['requests_per_s']:,.0f}/s, {of['p50_ms']:.2f} / {of['p99_ms']:.2f} ms, {of['cpu_us']:,.0f} µs"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def per_s(number: float, what: str = "requests") -> str:
    return f"{number:,.0f} {what}/s"
