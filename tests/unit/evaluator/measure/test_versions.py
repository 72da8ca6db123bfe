"""Agreement, accuracy and the pairs of digits in which two versions differ."""

import argparse

import numpy as np
import pytest

from services.evaluator.measure.versions import Readings, bound, together, verdict
from services.evaluator.report import differences


def scores(*digits, confidence=0.91):
    rows = np.full((len(digits), 10), (1 - confidence) / 9, np.float32)
    rows[np.arange(len(digits)), digits] = confidence
    return rows


def readings(first, second, labels=None, kind="clean"):
    images = np.linspace(0, 1, len(first), dtype=np.float32)[:, None, None, None] * np.ones((1, 28, 28, 1), np.float32)
    return Readings(kind, images, scores(*first), second, None if labels is None else np.array(labels))


def test_counts_and_pairs():
    found = verdict(readings([1, 2, 3, 3, 5], scores(1, 2, 5, 5, 8), labels=[1, 2, 3, 5, 5]))

    assert (found.total, found.agreed, found.first_right, found.second_right) == (5, 2, 4, 3)
    assert found.pairs == ((3, 5, 2), (5, 8, 1))
    assert found.interval.low < found.agreement < found.interval.high


def test_without_labels_there_is_no_accuracy_and_no_bound_on_it_is_met():
    found = verdict(readings([1, 2], scores(1, 2)))

    assert (found.first_right, found.accuracy, found.p_value) == (None, None, None)
    assert bound("agreement>=1").met(found)
    assert not bound("accuracy >= 0").met(found)


def test_all_kinds_together():
    parts = [readings([1, 2], scores(1, 2), [1, 2]), readings([3, 4], scores(3, 9), [3, 4], kind="gaussian 0.5")]
    found = together(parts)

    assert (found.total, found.agreed, found.second_right) == (4, 3, 3)
    assert bound("agreement>=0.75").met(found) and not bound("agreement>=0.76").met(found)


@pytest.mark.parametrize("text", ["agreement>0.9", "agreement>=", "agreement>=1.5", "recall>=0.9", "agreement>=.9.9"])
def test_a_bound_that_cannot_be_read_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"agreement>=0\.99"):
        bound(text)


def test_the_surest_differences_come_first():
    second = np.concatenate([scores(1), scores(5, confidence=0.6), scores(7, confidence=0.9)])

    assert readings([1, 2, 3], second).differing.tolist() == [2, 1]


def test_the_page_shows_what_differs_and_escapes_what_it_is_told():
    part = readings([1, 2, 3], scores(1, 5, 3), labels=[1, 2, 3])
    page = differences.page(("<b>", "canary"), ("denoiser 1", "denoiser 2"), [part], [verdict(part), together([part])])

    assert page.count("<img") == 1
    assert "data:image/png;base64," in page
    assert "&lt;b&gt;" in page and "<b>:" not in page
    assert '<b class="right">2</b>' in page and '<b class="wrong">5</b>' in page


def test_the_page_holds_a_bounded_number_of_pictures():
    count = differences.MOST + 5
    part = readings([1] * count, scores(*[2] * count))
    page = differences.page(("a", "b"), ("1", "2"), [part], [verdict(part)])

    assert page.count("<img") == differences.MOST
    assert f"{count} pictures are read differently" in page
