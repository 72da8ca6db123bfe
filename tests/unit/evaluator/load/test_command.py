"""What a load test takes for wrong, and what for growth."""

import json
import os
import threading

import pytest

from services.evaluator.load import __main__ as load
from services.evaluator.load import processes as watch
from services.evaluator.load.answers import line_mistake, mistake
from services.evaluator.load.processes import Sample
from services.evaluator.load.shapes import PROFILES, users_at


def body(*digits, order=None):
    order = order or range(len(digits))
    return json.dumps({"results": [{"index": i, "digit": d} for i, d in zip(order, digits, strict=True)]}).encode()


def test_the_right_answer_is_no_mistake():
    assert mistake(body(7, 2, 1), [7, 2, 1]) == ""


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (body(7, 2, 3), "wrong digits: 1 of 3"),
        (body(1, 7, 2), "mixed up"),
        (body(7, 2), "results numbered [0, 1]"),
        (body(7, 2, 1, order=[0, 2, 1]), "results numbered [0, 2, 1]"),
        (b"<html>", "not an answer"),
        (b'{"results": [{}]}', "not an answer"),
    ],
)
def test_anything_else_is_one(answer, complaint):
    assert complaint in mistake(answer, [7, 2, 1])


def numbers(*found):
    return json.dumps({"results": [{"index": i, "number": n} for i, n in enumerate(found)]}).encode()


def test_a_line_is_right_only_with_its_leading_zeros_and_in_its_place():
    assert line_mistake(numbers("007", "12"), ["007", "12"]) == ""
    assert "wrong numbers: 1 of 2" in line_mistake(numbers("7", "12"), ["007", "12"])
    assert "mixed up" in line_mistake(numbers("12", "007"), ["007", "12"])
    assert "not an answer" in line_mistake(body(7), ["7"])


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_fills_its_time_and_reaches_its_peak(profile):
    users = [users_at(profile, at / 100, 60) for at in range(101)]

    assert sum(share for share, _ in PROFILES[profile]) == pytest.approx(1)
    assert max(users) == 60
    assert min(users) >= 1


def test_a_step_climbs_and_a_spike_returns():
    assert [users_at("step", at, 60) for at in (0.1, 0.3, 0.6, 0.95)] == [10, 20, 40, 60]
    assert [users_at("spike", at, 60) for at in (0.1, 0.4, 0.8)] == [6, 60, 6]


def samples(memory=lambda second: 100.0, descriptors=lambda second: 20, threads=lambda second: 10):
    return [Sample(second, memory(second), descriptors(second), threads(second)) for second in range(60)]


def test_a_steady_process_does_not_grow():
    assert watch.growth({"gateway 1": samples(memory=lambda second: 100 + second % 7)}) == []


def test_warming_up_is_not_growth():
    assert watch.growth({"gateway 1": samples(memory=lambda second: min(100 + 40 * second, 400))}) == []


@pytest.mark.parametrize(
    ("leak", "what"),
    [
        ({"memory": lambda second: 100 + 2 * second}, "memory_mib grew"),
        ({"descriptors": lambda second: 20 + second}, "descriptors grew"),
        ({"threads": lambda second: 10 + second}, "threads grew"),
    ],
)
def test_a_leak_is_found(leak, what):
    (complaint,) = watch.growth({"gateway 1": samples(**leak)})

    assert what in complaint


def test_a_process_seen_too_rarely_is_named():
    assert "only 3 times" in watch.growth({"gateway 1": samples()[:3]})[0]


def test_a_watch_sees_this_process_and_notices_one_that_ends():
    (this, *_) = watch.service_processes(0, [os.getpid()])
    watched = watch.Watch([this], every_s=0.01)
    watched.start()
    threading.Event().wait(0.2)
    watched.stop()

    ((name, series),) = watched.series.items()
    assert name.endswith(str(os.getpid()))
    assert len(series) > 3
    assert series[-1].memory_mib > 1
    assert watched.lost == []


def entry(name, times, failures=0):
    return {
        "name": name, "num_requests": sum(times.values()), "num_failures": failures, "start_time": 0.0,
        "last_request_timestamp": 10.0, "max_response_time": max(map(float, times)), "response_times": times,
    }  # fmt: skip


def test_rows_read_locusts_statistics():
    (row,) = load.rows([entry("one PNG", {"2": 90, "5": 9, "40": 1})])

    assert (row.requests, row.per_s, row.p50, row.p95, row.p99, row.max) == (100, 10.0, 2, 5, 5, 40)


def test_the_judge_fails_wrong_answers_growth_and_lost_processes():
    watched = watch.Watch([])
    watched.series = {"gateway 1": samples(threads=lambda second: second)}
    watched.lost = ["denoiser 2"]
    rows = load.rows([entry("one PNG", {"2": 10}, failures=1)])

    problems = load.judge(rows, "soak", watched, soak=True)

    assert [problem.split(":")[0] for problem in problems] == [
        "one PNG", "denoiser 2 ended during the run", "gateway 1",
    ]  # fmt: skip


def test_a_client_behind_its_own_schedule_has_measured_nothing():
    rows = load.rows([entry("one PNG", {"2": 10}), entry(load.LATENESS, {"0": 900, "500": 100})])

    (problem,) = load.judge(rows, "open", watch.Watch([]), soak=False)

    assert "500 ms behind its schedule" in problem


def test_a_run_without_answers_is_not_good():
    assert load.judge([], "mix", watch.Watch([]), soak=False) == ["nothing was answered"]
