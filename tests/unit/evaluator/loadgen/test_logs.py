"""LoadGen's logs, read as LoadGen wrote them; the search for the highest rate on a system that is known."""

import json
from pathlib import Path

import pytest

from services.evaluator.loadgen.logs import digits, highest, verdict

LOGS = Path(__file__).with_name("loadgen_logs")


def read(name):
    return verdict((LOGS / f"{name}.txt").read_text())


def test_a_valid_single_stream_run():
    found = read("single_stream")

    assert found.valid
    assert found.reasons == ()
    assert found.figures["queries_per_s"] == 259.60
    assert found.figures["p90_ms"] == pytest.approx(5.384923)
    assert found.figures["p99.9_ms"] == pytest.approx(41.666161)


def test_an_invalid_server_run_says_why():
    found = read("server")

    assert not found.valid
    assert "Performance constraints satisfied: no" in found.reasons
    assert "Reduce target QPS to improve latency." in found.reasons
    assert any("at least 1353 more queries, with the run" in reason for reason in found.reasons)
    assert (found.figures["samples_per_s"], found.figures["scheduled_per_s"]) == (27.70, 27.77)


def test_too_few_queries_are_a_reason():
    assert "Need to process at least 662 queries for early stopping." in read("multi_stream").reasons


def test_offline_gives_images_a_second():
    found = read("offline")

    assert found.figures["samples_per_s"] == 1391.36
    assert "Min duration satisfied: no" in found.reasons


def test_digits_are_one_byte_for_each_sample():
    log = json.dumps([{"seq_id": 0, "qsl_idx": 4, "data": "07"}, {"seq_id": 1, "qsl_idx": 2, "data": "ff"}])

    assert digits(log) == {4: 7, 2: 255}


@pytest.mark.parametrize("capacity", [30, 100, 333, 5000])
def test_the_search_ends_just_below_what_the_system_can_do(capacity):
    tried = []

    def is_valid(rate):
        tried.append(rate)
        return rate <= capacity

    found = highest(is_valid, 200)

    assert 0.95 * capacity <= found <= capacity
    assert len(tried) <= 12


def test_a_system_that_can_do_nothing_has_no_rate():
    assert highest(lambda rate: False, 200) == 0.0


def test_nothing_is_tried_below_the_lowest_rate_that_can_be_judged():
    tried = []

    def is_valid(rate):
        tried.append(rate)
        return False

    assert highest(is_valid, 200, lowest=20) == 0.0
    assert tried == [200, 50, 20]


def test_the_search_ends_when_its_time_is_up():
    tried = []

    def is_valid(rate):
        tried.append(rate)
        return True

    best = highest(is_valid, 100, go_on=lambda: len(tried) < 3)

    assert tried == [100, 200, 400]
    assert best == 400
