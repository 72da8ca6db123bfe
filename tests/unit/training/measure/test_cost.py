"""Cost is measured per image, and the front holds what nothing beats at both."""

import time

from training.measure.cost import chain_cost, median_seconds, pareto_front


def test_the_front_holds_what_nothing_beats_at_both():
    points = {"cheap": (10, 90.0), "good": (100, 99.0), "beaten": (100, 95.0), "dear": (200, 98.0)}

    assert pareto_front(points) == {"cheap", "good"}


def test_equals_are_on_the_front_together():
    assert pareto_front({"one": (10, 90.0), "twin": (10, 90.0)}) == {"one", "twin"}


def test_a_call_is_timed_at_least_once():
    assert median_seconds(lambda: time.sleep(0.002), seconds=0.0) >= 0.002  # how much more, the machine decides


def test_a_chain_costs_the_sum_of_its_graphs(tmp_path):
    from tests.support.tiny_training import tiny_denoiser
    from training.export.versions import to_onnx

    (tmp_path / "tiny.onnx").write_bytes(to_onnx(tiny_denoiser()))
    once, thrice = (chain_cost([tmp_path / "tiny.onnx"] * count, seconds=0.05) for count in (1, 3))

    assert 0 < once["batch_us"] < thrice["batch_us"]
    assert once.keys() == thrice.keys() == {"single_us", "batch_us"}
