"""Windows of gateways with and without a shadow -> docs/benchmarks/shadow.md, the target beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.bench.gateway.report import table

NONE, AGAIN = "no shadow", "no shadow, again"
MOST = 1.02  # p99 / p99 of the two gateways without a shadow
_RESAMPLES = 400


@dataclass(frozen=True, slots=True)
class Window:
    """One window of a gateway."""

    latencies_ms: np.ndarray
    cpu_us: float  # a request, all processes


def compared(windows: Mapping[str, Sequence[Window]]) -> dict[str, dict[str, Any]]:
    """Each gateway's percentiles over all windows, and beside those of both without a shadow: ratio, 95 % interval.

    The interval is that of drawing rounds again (bootstrap): windows of one round have the same arrivals and the same
    minute of the machine.
    """
    rounds = len(windows[NONE])
    draws = np.random.default_rng(0).integers(0, rounds, (_RESAMPLES, rounds))
    both = [
        Window(np.concatenate((first.latencies_ms, second.latencies_ms)), first.cpu_us)
        for first, second in zip(windows[NONE], windows[AGAIN], strict=True)
    ]
    without = {quantile: _percentiles(both, quantile, draws) for quantile in (50, 99)}
    found = {}
    for name, each in windows.items():
        values: dict[str, Any] = {"requests": sum(len(window.latencies_ms) for window in each)}
        for quantile in (50, 99):
            measured, drawn = _percentiles(each, quantile, draws)
            base, base_drawn = without[quantile]
            low, high = np.percentile(drawn / base_drawn, (2.5, 97.5)).tolist()
            values[f"p{quantile}_ms"] = measured
            values[f"p{quantile}_ratio"] = {"ratio": measured / base, "low": low, "high": high}
        values["p99_ms_of_windows"] = [float(np.percentile(window.latencies_ms, 99)) for window in each]
        values["cpu_us"] = float(np.median([window.cpu_us for window in each]))
        found[name] = values
    return found


def is_met(found: Mapping[str, Any]) -> bool:
    """Whether every shadow's p99 is within the target."""
    return all(_is_met(each) for name, each in found["gateways"].items() if name not in (NONE, AGAIN))


def markdown(found: Mapping[str, Any]) -> str:
    """The page for people."""
    machine, gateways, saturated = found["machine"], found["gateways"], found["saturated"]
    settings = (
        f"`make bench-shadow` wrote this page and [shadow.json](shadow.json) on {machine['date']}: {machine['cpu']}, "
        f"{machine['cores']} cores shared by the client, the gateways ({machine['workers']} workers each) and two "
        f"model servers; Python {machine['python']}; {machine['models']}. {found['share']:.0%} of the calls are "
        "shadowed; one PNG of a noisy digit a request."
    )
    method = (
        f"**Below saturation**, as users meet a service: an open loop at {found['rate_per_s']:.0f} requests/s at "
        f"random times (Poisson), half of the {found['capacity_per_s']:.0f} that the gateway without a shadow answers "
        "to wrk. Latency counts from when a request was due. All gateways are up at once and are pressed in turn, "
        f"{machine['rounds']} windows of {machine['seconds']} s each, with the same random times in each round. "
        "Ratios are of percentiles over all windows to those of the two gateways without a shadow together, with the "
        "95 % interval from drawing rounds again; where those two differ from 1, it is the measurement that does. CPU "
        "is of all processes, a second after each window included, in which a shadow does what it has put off."
    )
    rows = [
        (
            name,
            f"{each['requests']:,}",
            f"{each['p50_ms']:.2f}",
            f"{each['p99_ms']:.2f}",
            _ratio(each["p50_ratio"]),
            _ratio(each["p99_ratio"]),
            "" if name in (NONE, AGAIN) else "met" if _is_met(each) else "**missed**",
            f"{each['cpu_us']:.0f}",
        )
        for name, each in gateways.items()
    ]
    at_saturation = (
        "**At saturation**, a closed loop of wrk that leaves no core idle: here all additional work is latency, "
        "also that of a low priority. A worker that always has a request in flight repeats a batch of its shadow "
        "twice a second and drops what its queue cannot hold. No target."
    )
    closed = [
        (name, f"{each['requests_per_s']:,.0f}", f"{each['p50_ms']:.2f}", f"{each['p99_ms']:.2f}",
         f"{each['cpu_us']:.0f}", f"{each['lost']:.0f}")
        for name, each in saturated.items()
    ]  # fmt: skip
    outcomes = [
        (name, ", ".join(f"{count:,} {outcome}" for outcome, count in each.items()) or "none")
        for name, each in found["outcomes"].items()
        if name not in (NONE, AGAIN)
    ]
    head = ("requests", "p50 ms", "p99 ms", "p50 / without", "p99 / without", f"target: p99 ≤ {MOST}", "CPU µs")
    return (
        "\n\n".join(
            (
                "# What a shadow costs users",
                settings,
                method,
                table(("shadow", *head), rows),
                at_saturation,
                table(("shadow", "requests/s", "p50 ms", "p99 ms", "CPU µs", "lost"), closed),
                "What became of the shadow's pictures, over both:",
                table(("shadow", "pictures"), outcomes),
            )
        )
        + "\n"
    )


def _percentiles(windows: Sequence[Window], quantile: int, draws: np.ndarray) -> tuple[float, np.ndarray]:
    """Of all windows, and of those of each draw."""
    drawn = [np.percentile(np.concatenate([windows[index].latencies_ms for index in draw]), quantile) for draw in draws]
    return float(np.percentile(np.concatenate([each.latencies_ms for each in windows]), quantile)), np.array(drawn)


def _is_met(gateway: Mapping[str, Any]) -> bool:
    return bool(gateway["p99_ratio"]["ratio"] <= MOST)


def _ratio(found: Mapping[str, float]) -> str:
    return f"{found['ratio']:.3f} ({found['low']:.3f}–{found['high']:.3f})"
