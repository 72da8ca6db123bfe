"""Denoise, then classify."""

import asyncio

import numpy as np
import pytest

from services.core.errors import ModelTimeoutError, ModelUnavailableError
from services.gateway.deadlines import Deadline
from services.gateway.models.transport import CallContext
from services.gateway.reading.chain import Reading, read_digits
from tests.support.fakes import FakeModel, fake_classifier, fake_denoiser


def images(*brightness: float) -> np.ndarray:
    return np.stack([np.full((28, 28, 1), value, np.float32) for value in brightness])


def read(noisy: np.ndarray, applied: list[bool], **options: object) -> Reading:
    options = {"denoiser": fake_denoiser(), "classifier": fake_classifier(), **options}
    return asyncio.run(read_digits(noisy, np.array(applied), call=CallContext(Deadline.after(2)), **options))


def test_the_classifier_reads_what_the_denoiser_cleaned():
    darker = FakeModel(lambda images: images - np.float32(0.2), version=7)

    reading = read(images(0.55, 0.35), [True, True], denoiser=darker)

    assert reading.digits.tolist() == [3, 1]
    assert (reading.denoiser_version, reading.classifier_version) == (7, 1)
    assert reading.denoised.mean() == pytest.approx(0.25)
    assert set(reading.timings_ms) == {"denoise", "classify"}


def test_only_the_marked_images_are_denoised():
    darker = FakeModel(lambda images: images - np.float32(0.2))

    reading = read(images(0.55, 0.35, 0.95), [True, False, True], denoiser=darker)

    assert reading.digits.tolist() == [3, 3, 7]
    assert darker.sizes == [2]


def test_a_denoiser_nobody_needs_is_not_called():
    denoiser = fake_denoiser()

    reading = read(images(0.55), [False], denoiser=denoiser)

    assert denoiser.sizes == []
    assert reading.denoiser_version is None


@pytest.mark.parametrize("failure", [ModelUnavailableError("down"), ModelTimeoutError("slow")])
def test_without_leave_a_broken_denoiser_is_an_error(failure):
    with pytest.raises(type(failure)):
        read(images(0.5), [True], denoiser=fake_denoiser(failure=failure))


def test_with_leave_a_broken_denoiser_is_a_degraded_reading():
    broken = fake_denoiser(failure=ModelUnavailableError("down"))

    reading = read(images(0.55), [True], denoiser=broken, without_denoiser=True)

    assert reading.degraded
    assert reading.digits.tolist() == [5]
    assert reading.applied.tolist() == [False]
    assert reading.denoiser_version is None


def test_a_denoiser_that_may_be_missing_gets_half_of_the_time_so_that_the_classifier_has_the_rest():
    may, must = fake_denoiser(), fake_denoiser()

    read(images(0.55), [True], denoiser=may, without_denoiser=True)
    read(images(0.55), [True], denoiser=must)

    assert may.left_s == [pytest.approx(1.0, abs=0.1)]
    assert must.left_s == [pytest.approx(2.0, abs=0.1)]


def test_each_caller_of_a_batch_is_told_the_denoiser_only_where_it_was_used():
    whole = read(images(0.15, 0.35), [True, False])

    assert whole.rows(0, 1, 0.0).denoiser_version == 1
    assert whole.rows(1, 2, 0.0).denoiser_version is None


def test_rows_and_joined_are_each_others_opposite():
    whole = read(images(0.15, 0.35, 0.55, 0.75), [True, False, True, True])

    parts = [whole.rows(0, 1, 0.0), whole.rows(1, 4, 0.0)]
    again = Reading.joined(parts)

    assert again.digits.tolist() == whole.digits.tolist() == [1, 3, 5, 7]
    assert np.array_equal(again.scores, whole.scores)
    assert again.applied.tolist() == whole.applied.tolist()
    assert again.timings_ms["classify"] == pytest.approx(2 * whole.timings_ms["classify"])
