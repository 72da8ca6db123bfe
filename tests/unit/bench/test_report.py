"""The bench reads wrk's report rightly and says of each target whether it was met."""

import pytest

from tests.bench.gateway import report
from tests.bench.gateway.wrk import read_report
from tests.support.stack import LANE, TCP, UNIX

WRK = """Running 4s test @ http://127.0.0.1:8080/v1/recognize
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    31.31ms    9.50ms 120.00ms   80.00%
    Req/Sec     1.92k   100.00     2.10k    70.00%
  Latency Distribution
     50%  950.00us
     75%    5.00ms
     90%   48.75ms
     99%    1.20s
  7654 requests in 4.00s, 3.00MB read
  Socket errors: connect 0, read 1, write 0, timeout 2
  Non-2xx or 3xx responses: 5
Requests/sec:   1913.50
Transfer/sec:    700.00KB
""".replace("1.20s", "1.20s ")  # wrk pads units of one letter


def test_every_number_of_wrk_is_read():
    load = read_report(WRK, 64)

    assert (load.requests, load.requests_per_s, load.not_2xx, load.socket_errors) == (7654, 1913.5, 5, 3)
    assert (load.p50_ms, load.p90_ms, load.p99_ms) == pytest.approx((0.95, 48.75, 1200))


def test_a_run_without_errors_has_none():
    calm = "\n".join(line for line in WRK.splitlines() if "errors" not in line and "Non-2xx" not in line)

    load = read_report(calm, 64)

    assert (load.not_2xx, load.socket_errors) == (0, 0)


def found(**changes: object) -> dict:
    loads = [
        {"connections": count, "requests_per_s": 1000.0, "p50_ms": 1.0, "p90_ms": 1.5, "p99_ms": 2.0, "not_2xx": 0,
         "socket_errors": 0}
        for count in (1, 16, 64, 256, 1000)
    ]  # fmt: skip
    result = {
        "gateway": {"loads": loads, "cpu_us_per_request": 200.0, "all_cpu_us_per_request": 500.0,
                    "bulk_images_per_s": 900.0},
        "transports": {name: {count: {"requests_per_s": rate, "p50_ms": 1.0, "p99_ms": 2.0, "cpu_us": 500.0}
                              for count in ("1", "16", "64")}
                       for name, rate in ((LANE, 300.0), (TCP, 200.0), (UNIX, 210.0))},
        "embedded": {"requests_per_s": 1100.0},
        "floors": {"empty_endpoint_p50_ms": 0.2, "compute_ms": 0.3, "hop_ms": 0.4, "bulk_images_per_s": 1000.0,
                   "empty_endpoint_requests_per_s": 7000.0, "request_cpu_us": 410.0},
        "stack": {"first_answer_s": 1.5, "pss_mb": 200.0},
        "machine": {"date": "2026-01-01", "cpu": "a CPU", "cores": 2, "python": "3.11", "models": "1", "rounds": 1,
                    "seconds": 1, "workers": 2, "bulk_images": 10000},
    }  # fmt: skip
    for name, value in changes.items():
        part, _, key = name.partition("__")
        result[part][key] = value
    return result


def test_all_targets_can_be_met():
    assert all(met for *_, met in report.targets(found()))


@pytest.mark.parametrize(
    "change",
    [
        {"embedded__requests_per_s": 1400.0},
        {"gateway__all_cpu_us_per_request": 520.0},
        {"transports__lane": {str(count): {"requests_per_s": 220.0} for count in (1, 64)}},
        {"gateway__bulk_images_per_s": 840.0},
        {"floors__hop_ms": 0.1},
        {"stack__first_answer_s": 2.1},
        {"stack__pss_mb": 251.0},
    ],
)
def test_each_target_can_be_missed(change):
    missed = [name for name, _, _, met in report.targets(found(**change)) if not met]

    assert len(missed) == 1


def test_the_page_shows_every_load_and_every_verdict():
    text = report.markdown(found(stack__pss_mb=251.0))

    assert text.count("| met |") == 9
    assert text.count("**missed**") == 1
    assert "| 1000 | 1,000 |" in text
    assert all(f"| {name} | " in text for name in (LANE, TCP, UNIX))
