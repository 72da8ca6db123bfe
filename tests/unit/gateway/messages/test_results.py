"""Results as JSON: the same from either process, and bounded before anything is computed."""

import asyncio
import base64
import json
import time

import numpy as np
import pytest

from services.core.errors import DeadlineError, TooLargeError
from services.core.images import decode
from services.gateway.api.intake import SMALL_RESULTS, TASKS, Intake
from services.gateway.decoding.decoders import Decoders
from services.gateway.limits import Limits
from services.gateway.messages.options import Options
from services.gateway.messages.results import Columns, check_size, results_json

EVERYTHING = Options(include=frozenset({"probabilities", "input", "denoised"}), top_k=10)


def columns(rng: np.random.Generator, count: int, *, slices: int = 2) -> Columns:
    scores = rng.random((count, 10), np.float32)
    pictures = rng.random((count, 28, 28, 1), np.float32)
    return Columns(
        digits=scores.argmax(axis=1),
        confidences=scores.max(axis=1),
        applied=rng.random(count) < 0.5,
        accepted=rng.random(count) < 0.5,
        is_digit=rng.random(count, np.float32),
        scores=scores,
        noise_levels=rng.random(count),
        images=rng.integers(0, 256, (count, 28, 28, 1), np.uint8),
        denoised=np.array_split(pictures, slices),
    )


async def write(given: Columns, options: Options, budget_s: float = 60.0) -> bytes:
    decoders = Decoders(TASKS)
    try:
        return await Intake(decoders, Limits()).results(given, options, until_s=time.monotonic() + budget_s)
    finally:
        await decoders.close()


def test_every_image_gets_what_is_asked_for(rng):
    given = columns(rng, 5)

    results = json.loads(results_json(given, EVERYTHING))

    denoised = np.concatenate(given.denoised)
    for index, result in enumerate(results):
        assert (result["index"], result["digit"]) == (index, given.digits[index])
        assert result["probabilities"] == pytest.approx(given.scores[index].tolist(), abs=1e-6)
        assert [entry["digit"] for entry in result["top"]] == np.argsort(-given.scores[index]).tolist()
        picture = decode(base64.b64decode(result["input"].partition(",")[2]), max_pixels=784)
        np.testing.assert_array_equal(picture, given.images[index, ..., 0])
        assert (result["denoise"] == "applied") == ("denoised" in result) == bool(given.applied[index])
        if "denoised" in result:
            picture = decode(base64.b64decode(result["denoised"].partition(",")[2]), max_pixels=784)
            np.testing.assert_array_equal(picture, np.rint(255 * denoised[index, ..., 0]))


@pytest.mark.parametrize("options", [Options(), EVERYTHING, Options(top_k=3)], ids=["plain", "everything", "top"])
def test_a_decoder_process_writes_the_same(options, rng):
    given = columns(rng, SMALL_RESULTS + 1, slices=3)

    assert asyncio.run(write(given, options)) == results_json(given, options)


def test_nothing_is_larger_than_was_said_before(rng):
    """The worst pictures there are: noise does not compress."""
    given = columns(rng, 50)
    for options in (Options(), EVERYTHING, Options(top_k=10), Options(include=frozenset({"input"}))):
        wanted = Columns(
            digits=given.digits,
            confidences=given.confidences,
            applied=np.ones(50, bool),
            accepted=np.zeros(50, bool),
            is_digit=given.is_digit,
            noise_levels=given.noise_levels,
            scores=given.scores,
            images=given.images if "input" in options.include else None,
            denoised=given.denoised if "denoised" in options.include else (),
        )
        size = len(results_json(wanted, options))
        check_size(50, options, max_bytes=2 * size)
        with pytest.raises(TooLargeError, match="fit: send fewer"):
            check_size(50, options, max_bytes=size)


def test_an_answer_of_19000_images_with_everything_is_refused_before_it_is_computed():
    """Issue 15.7: 14.5 KB of gzip stalled all others for 17.9 s."""
    with pytest.raises(TooLargeError, match="an answer of 19000 images"):
        check_size(19_000, EVERYTHING, max_bytes=Limits().max_answer_bytes)
    check_size(20_000, Options(include=frozenset({"denoised"})), max_bytes=Limits().max_answer_bytes)


def test_a_large_answer_is_written_off_the_loop_and_by_the_deadline(rng):
    given = columns(rng, 5000)

    async def use() -> tuple[float, float]:
        decoders = Decoders(TASKS)
        await decoders.start()
        longest, started = 0.0, time.monotonic()
        work = asyncio.create_task(Intake(decoders, Limits()).results(given, EVERYTHING, until_s=started + 0.1))
        while not work.done():
            before = time.process_time()
            await asyncio.sleep(0)
            longest = max(longest, time.process_time() - before)
        with pytest.raises(DeadlineError):
            await work
        await decoders.close()
        return longest, time.monotonic() - started

    longest, took = asyncio.run(use())

    assert longest < 0.05
    assert took < 5
