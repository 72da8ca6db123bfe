"""The shadow reads what users were answered, counts, drops what it has no room for, and is never felt."""

import asyncio
import base64
import itertools
import time
import weakref

import numpy as np
import orjson
import pytest

from services.core.errors import ModelUnavailableError
from services.core.lines.number import Number
from services.core.lines.strip import find
from services.gateway.config import GatewayConfig
from services.gateway.gateway import Gateway
from services.gateway.metrics import Metrics
from services.gateway.reading import shadow as module
from services.gateway.reading.chain import Reading
from services.gateway.reading.numbers import LineReading
from services.gateway.reading.shadow import ALONE_EVERY, BATCH_IMAGES, QUEUE_IMAGES, Shadow
from services.gateway.reading.shadow_pace import LOOK_S, RETRY_S, Pace
from services.gateway.shadow_metrics import OUTCOMES
from tests.support.bars import bar_classifier, line, png
from tests.support.fakes import FakeModel, fake_classifier, fake_denoiser, scores_by_brightness
from tests.support.hosts import running


def images(*brightness):
    return np.stack([np.full((28, 28, 1), value, np.float32) for value in brightness])


def answered(*digits, confidence=0.81, degraded=False):
    """What users were told of as many pictures."""
    count = len(digits)
    return Reading(
        digits=np.array(digits), scores=np.zeros((count, 10), np.float32),
        confidences=np.full(count, confidence, np.float32), pictures=(), applied=np.ones(count, bool),
        denoiser_version=1, classifier_version=1, degraded=degraded, timings_ms={"denoise": 0.5, "classify": 0.5},
    )  # fmt: skip


def made(metrics, **options):
    options = {
        "denoiser": fake_denoiser(version=2), "classifier": fake_classifier(version=3), "share": 1.0,
        "pace": Pace(gather_s=0.0), **options,
    }  # fmt: skip
    return Shadow(observer=metrics.shadow, **options)


def pictures(metrics):
    """The count of each outcome that has one."""
    value = metrics.registry.get_sample_value
    found = {
        outcome: value("cleardigits_shadow_pictures_total", {"outcome": outcome})
        for outcome in ("agreed", "differed", "failed", "dropped")
    }
    return {outcome: count for outcome, count in found.items() if count}


async def until(holds):
    ends = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < ends
        await asyncio.sleep(0.005)


def test_agreement_and_the_digits_of_disagreements_are_counted():
    metrics = Metrics()

    async def main():
        shadow = made(metrics)
        shadow.offer(images(0.15, 0.35, 0.55), np.ones(3, bool), answered(1, 3, 7))
        await until(lambda: pictures(metrics))
        await shadow.close()

    asyncio.run(main())
    value = metrics.registry.get_sample_value

    assert pictures(metrics) == {"agreed": 2, "differed": 1}
    assert value("cleardigits_shadow_disagreements_total", {"answered": "7", "shadow": "5"}) == 1
    below = [value("cleardigits_shadow_confidence_gained_bucket", {"le": le}) for le in ("0.05", "0.2")]
    assert below == [0, 3]  # 0.91 beside 0.81
    assert value("cleardigits_shadow_latency_ratio_count") == 1
    assert value("cleardigits_shadow_model_info", {"model": "classifier", "version": "3"}) == 1


def test_only_the_pictures_that_were_denoised_for_users_are_denoised_again():
    denoiser = fake_denoiser()

    async def main():
        shadow = made(Metrics(), denoiser=denoiser)
        shadow.offer(images(0.1, 0.2, 0.3), np.array([True, False, True]), answered(1, 2, 3))
        await until(lambda: denoiser.sizes)
        await shadow.close()

    asyncio.run(main())

    assert denoiser.sizes == [2]


def test_nothing_is_asked_before_users_have_their_answers():
    denoiser = fake_denoiser()

    async def main():
        shadow = made(Metrics(), denoiser=denoiser)
        shadow.offer(images(0.1), np.ones(1, bool), answered(1))
        for _ in range(20):  # turns of the loop, in which answers are built and written
            await asyncio.sleep(0)
        early = list(denoiser.sizes)
        await until(lambda: denoiser.sizes)
        await shadow.close()
        return early

    assert asyncio.run(main()) == []


def test_a_full_queue_drops_and_says_how_much():
    metrics = Metrics()
    slow = fake_denoiser(takes_s=30.0)

    async def main():
        shadow = made(metrics, denoiser=slow)
        for _ in range(10):
            shadow.offer(np.zeros((100, 28, 28, 1), np.float32), np.ones(100, bool), answered(*[0] * 100))
        dropped = pictures(metrics)
        await shadow.close()
        return dropped

    assert asyncio.run(main()) == {"dropped": 1000 - QUEUE_IMAGES // 100 * 100}


def test_pictures_of_several_calls_share_a_batch_and_are_compared_each_with_its_own_answer():
    metrics = Metrics()
    denoiser = fake_denoiser()

    async def main():
        shadow = made(metrics, denoiser=denoiser)
        for digit in (1, 2, 3):
            shadow.offer(images(0.15, 0.35), np.array([True, False]), answered(digit, digit))
        await until(lambda: pictures(metrics))
        await shadow.close()

    asyncio.run(main())
    value = metrics.registry.get_sample_value

    assert pictures(metrics) == {"agreed": 2, "differed": 4}
    assert denoiser.sizes == [3]
    assert value("cleardigits_shadow_confidence_gained_count") == 6
    assert value("cleardigits_shadow_latency_ratio_count") == 0  # a batch takes less than its calls, one by one
    for pair in (("1", "3"), ("2", "1"), ("2", "3"), ("3", "1")):
        labels = dict(zip(("answered", "shadow"), pair, strict=True))
        assert value("cleardigits_shadow_disagreements_total", labels) == 1


def test_a_batch_is_bounded_and_one_in_a_few_is_a_call_alone_whose_time_is_compared():
    metrics = Metrics()
    classifier = fake_classifier()

    async def main():
        shadow = made(metrics, classifier=classifier)
        for _ in range(BATCH_IMAGES * (ALONE_EVERY - 1) + 2):
            shadow.offer(images(0.15), np.ones(1, bool), answered(1))
        await until(lambda: not shadow._waiting)
        await shadow.close()

    asyncio.run(main())

    assert classifier.sizes == [BATCH_IMAGES] * (ALONE_EVERY - 1) + [1, 1]
    assert metrics.registry.get_sample_value("cleardigits_shadow_latency_ratio_count") == 2


def test_a_line_between_pictures_is_read_by_itself():
    metrics = Metrics()
    denoiser = fake_denoiser()

    async def main():
        shadow = made(metrics, denoiser=denoiser, classifier=bar_classifier())
        for count in (1, 2):
            shadow.offer(images(*[0.15] * count), np.ones(count, bool), answered(*[1] * count))
        shadow.offer_line(STRIP, read_as("40718"), None, "")
        shadow.offer(images(0.15), np.ones(1, bool), answered(1))
        await until(lambda: sum(pictures(metrics).values()) == 4)
        await shadow.close()

    asyncio.run(main())

    assert denoiser.sizes == [3, 1, 1]
    assert numbers(metrics) == {"agreed": 1}


def test_nothing_is_asked_while_users_wait_but_for_a_batch_now_and_then():
    denoiser = fake_denoiser()
    busy = [True]

    async def main():
        shadow = made(Metrics(), denoiser=denoiser, pace=Pace(gather_s=0.0, busy_s=30.0, busy=lambda: busy[0]))
        for _ in range(2):  # the first is due: nothing was asked yet
            shadow.offer(images(0.15), np.ones(1, bool), answered(1))
            await asyncio.sleep(4 * LOOK_S)
        early = list(denoiser.sizes)
        busy[0] = False
        await until(lambda: len(denoiser.sizes) == 2)
        await shadow.close()
        return early

    assert asyncio.run(main()) == [1]


def test_a_gateway_tells_its_shadow_whether_any_request_is_in_flight():
    seen = []

    def watched(images):
        seen.append(gateway.shadow._pace.busy())
        return scores_by_brightness(images)

    gateway = Gateway(
        GatewayConfig(shadow_share=0.1, shadow_label="canary"),
        denoiser=fake_denoiser(),
        classifier=FakeModel(watched, name="classifier"),
    )
    with running("http", gateway) as host:
        body = orjson.dumps({"images": [[0.35] * 784]})
        replies = [
            host.ask("/v1/recognize", body=sent, headers={"Content-Type": "application/json"})
            for sent in (body, b"{", body)
        ]
        ends = time.monotonic() + 10
        while gateway.shadow._pace.busy():
            assert time.monotonic() < ends
            time.sleep(0.01)

    assert [reply.status for reply in replies] == [200, 422, 200]
    assert seen == [True, True]


def test_one_batch_at_a_time():
    running = []
    most = []

    class Counting(FakeModel):
        async def predict(self, images, *, call):
            running.append(1)
            most.append(len(running))
            answer = await super().predict(images, call=call)
            running.pop()
            return answer

    metrics = Metrics()

    async def main():
        shadow = made(metrics, denoiser=Counting(lambda images: images, takes_s=0.002))
        for _ in range(5):
            shadow.offer(images(*[0.15] * BATCH_IMAGES), np.ones(BATCH_IMAGES, bool), answered(*[1] * BATCH_IMAGES))
        await until(lambda: pictures(metrics) == {"agreed": 5 * BATCH_IMAGES})
        await shadow.close()

    asyncio.run(main())

    assert max(most) == 1


@pytest.mark.parametrize(
    "options", [{"failure": ModelUnavailableError("down")}, {"takes_s": 30.0}], ids=["failure", "too late"]
)
def test_after_a_failure_nothing_is_taken_for_a_while_and_then_the_shadow_is_asked_again(monkeypatch, options):
    monkeypatch.setattr(module, "DEADLINE_S", 0.05)
    metrics = Metrics()
    now = [0.0]
    classifier = fake_classifier(**options)

    async def main():
        shadow = made(metrics, classifier=classifier, pace=Pace(gather_s=0.0, clock=lambda: now[0]))

        def offer(count):
            shadow.offer(images(*[0.15] * count), np.ones(count, bool), answered(*[1] * count))

        offer(BATCH_IMAGES)
        offer(4)  # waits meanwhile, and is dropped
        await until(lambda: pictures(metrics) == {"failed": BATCH_IMAGES, "dropped": 4})
        offer(1)
        now[0] += RETRY_S
        offer(2)
        await until(lambda: pictures(metrics) == {"failed": BATCH_IMAGES + 2, "dropped": 5})
        now[0] += RETRY_S
        offer(1)  # the pause has doubled
        now[0] += RETRY_S
        classifier.failure, classifier.takes_s = None, 0.0
        offer(3)
        await until(lambda: pictures(metrics).get("agreed"))
        await shadow.close()

    asyncio.run(main())

    assert pictures(metrics) == {"agreed": 3, "failed": BATCH_IMAGES + 2, "dropped": 6}
    assert len(classifier.sizes) == 3


def test_the_share_is_drawn_for_each_call():
    metrics = Metrics()
    draws = itertools.cycle([0.05, 0.5, 0.95, 0.15])

    async def main():
        shadow = made(metrics, share=0.1, draw=lambda: next(draws))
        for _ in range(8):
            shadow.offer(images(0.15), np.ones(1, bool), answered(1))
        await until(lambda: pictures(metrics) == {"agreed": 2})
        await shadow.close()

    asyncio.run(main())

    assert pictures(metrics) == {"agreed": 2}


def test_a_degraded_answer_is_compared_with_nothing():
    denoiser = fake_denoiser()

    async def main():
        shadow = made(Metrics(), denoiser=denoiser)
        shadow.offer(images(0.15), np.zeros(1, bool), answered(1, degraded=True))
        await asyncio.sleep(2 * LOOK_S)
        await shadow.close()

    asyncio.run(main())

    assert denoiser.sizes == []


def test_a_large_request_is_not_kept_alive_by_the_part_that_waits():
    async def main():
        shadow = made(Metrics())
        whole = np.zeros((1000, 28, 28, 1), np.float32)
        alive = weakref.ref(whole)
        shadow.offer(whole[:10], np.ones(10, bool), answered(*[0] * 10))
        del whole
        kept = alive() is not None
        await shadow.close()
        return kept

    assert asyncio.run(main()) is False


def read_as(number, *, denoiser_version=1, degraded=False):
    """What users were told of a line."""
    return LineReading(
        number=Number(number, 0.9), cleaned=np.zeros((28, 28, 1), np.float32), classifier_version=1,
        denoiser_version=denoiser_version, degraded=degraded,
    )  # fmt: skip


def numbers(metrics):
    value = metrics.registry.get_sample_value
    found = {outcome: value("cleardigits_shadow_numbers_total", {"outcome": outcome}) for outcome in OUTCOMES}
    return {outcome: count for outcome, count in found.items() if count}


STRIP = find(255 - line("40718")).image


def test_a_line_is_cleaned_cut_and_read_again_and_the_numbers_are_compared():
    metrics = Metrics()
    denoiser, classifier = fake_denoiser(version=2), bar_classifier(version=3)

    async def main():
        shadow = made(metrics, denoiser=denoiser, classifier=classifier)
        shadow.offer_line(STRIP, read_as("40718"), None, "")
        shadow.offer_line(STRIP, read_as("40710"), None, "")
        await until(lambda: sum(numbers(metrics).values()) == 2)
        await shadow.close()

    asyncio.run(main())
    value = metrics.registry.get_sample_value

    assert numbers(metrics) == {"agreed": 1, "differed": 1}
    assert pictures(metrics) == {}
    assert denoiser.sizes == [1, 1]
    assert value("cleardigits_shadow_model_info", {"model": "denoiser", "version": "2"}) == 1


def test_a_line_is_read_again_under_the_same_options():
    """Not denoised where it was not for users; of the length that they asked for."""
    metrics = Metrics()
    denoiser = fake_denoiser()

    async def main():
        shadow = made(metrics, denoiser=denoiser, classifier=bar_classifier())
        shadow.offer_line(STRIP, read_as("", denoiser_version=None), (7, 7), "")
        await until(lambda: numbers(metrics))
        await shadow.close()

    asyncio.run(main())

    assert numbers(metrics) == {"agreed": 1}
    assert denoiser.sizes == []


def test_lines_that_fail_are_dropped_or_compared_with_nothing_are_counted_as_lines():
    metrics = Metrics()
    broken = fake_denoiser(failure=ModelUnavailableError("gone"))

    async def main():
        shadow = made(metrics, denoiser=broken, label="canary")
        wide = np.zeros((28, QUEUE_IMAGES // 2 * 28, 1), np.float32)
        for _ in range(3):
            shadow.offer_line(wide, read_as("1"), None, "")
        shadow.offer_line(STRIP, read_as("1", degraded=True), None, "")
        shadow.offer_line(STRIP, read_as("1"), None, "canary")
        await shadow.close()
        shadow = made(metrics, denoiser=broken, label="canary")
        shadow.offer_line(STRIP, read_as("1"), None, "stable")
        await until(lambda: numbers(metrics).get("failed"))
        await shadow.close()

    asyncio.run(main())

    assert numbers(metrics) == {"dropped": 1, "failed": 1}
    assert pictures(metrics) == {}


@pytest.mark.parametrize("path", ["/v1/read", "/v2/models/numbers/infer"])
def test_lines_of_every_route_are_shadowed_and_answered_alike(path):
    metrics = Metrics()
    file = png("40718")
    body, kind = {
        "/v1/read": (file, "image/png"),
        "/v2/models/numbers/infer": (
            orjson.dumps({"inputs": [{
                "name": "pictures", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(file).decode()],
            }]}),
            "application/json",
        ),
    }[path]  # fmt: skip
    gateway = Gateway(
        GatewayConfig(),
        denoiser=fake_denoiser(),
        classifier=bar_classifier(),
        metrics=metrics,
        shadow=Shadow(denoiser=fake_denoiser(), classifier=fake_classifier(), share=1.0, observer=metrics.shadow),
    )
    with running("http", gateway) as host:
        reply = host.ask(path, body=body, headers={"Content-Type": kind, "Request-Timeout-Ms": "30000"})
        ends = time.monotonic() + 10
        while not numbers(metrics):
            assert time.monotonic() < ends
            time.sleep(0.01)

    assert reply.status == 200
    assert b"40718" in reply.body
    assert numbers(metrics) == {"differed": 1}


def test_closing_gives_up_a_call_that_hangs():
    hanging = fake_denoiser(takes_s=30.0)

    async def main():
        shadow = made(Metrics(), denoiser=hanging)
        shadow.offer(images(0.15), np.ones(1, bool), answered(1))
        await until(lambda: hanging.sizes)
        started = time.monotonic()
        await shadow.close()
        return time.monotonic() - started

    assert asyncio.run(main()) < 1.0
    assert hanging.closed


@pytest.mark.parametrize("path", ["/v1/recognize", "/v2/models/digits/infer", "/v1/models/digits:predict"])
def test_users_are_answered_alike_with_a_shadow_that_hangs_and_differs(path):
    """Every way to ask passes the one place; what the shadow would say never reaches an answer."""
    metrics = Metrics()
    other = FakeModel(lambda images: scores_by_brightness(1 - images), version=9, takes_s=0.2)
    body = {
        "/v1/recognize": b'{"images": [[' + b"0.35," * 783 + b"0.35]]}",
        "/v2/models/digits/infer": b'{"inputs": [{"name": "images", "datatype": "FP32", "shape": [1, 28, 28, 1], '
        b'"data": [' + b"0.35," * 783 + b"0.35]}]}",
        "/v1/models/digits:predict": b'{"instances": [[' + b"0.35," * 783 + b"0.35]]}",
    }[path]
    gateway = Gateway(
        GatewayConfig(),
        denoiser=fake_denoiser(),
        classifier=fake_classifier(),
        metrics=metrics,
        shadow=Shadow(denoiser=fake_denoiser(), classifier=other, share=1.0, observer=metrics.shadow),
    )
    with running("http", gateway) as host:
        replies = [host.ask(path, body=body, headers={"Content-Type": "application/json"}) for _ in range(3)]
        ends = time.monotonic() + 10
        while pictures(metrics) != {"differed": 3}:
            assert time.monotonic() < ends, pictures(metrics)
            time.sleep(0.01)

    assert [reply.status for reply in replies] == [200] * 3
    assert all(b'"version":9' not in reply.body and b'"9"' not in reply.body for reply in replies)
    assert (
        metrics.registry.get_sample_value("cleardigits_shadow_disagreements_total", {"answered": "3", "shadow": "6"})
        == 3
    )
