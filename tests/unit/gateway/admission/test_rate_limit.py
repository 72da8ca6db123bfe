"""Token buckets."""

import multiprocessing

import pytest

from services.core.errors import RateLimitedError
from services.gateway.admission import rate_limit
from services.gateway.admission.rate_limit import Buckets, RateLimiter


def test_a_burst_then_the_steady_rate():
    now = [0.0]
    limiter = RateLimiter(2.0, 3, lambda: now[0])

    for _ in range(3):
        limiter.take("a")
    with pytest.raises(RateLimitedError) as refused:
        limiter.take("a")

    assert refused.value.retry_after_s == pytest.approx(0.5)
    now[0] = 0.5
    limiter.take("a")


def test_a_long_silence_saves_up_one_burst_and_no_more():
    now = [0.0]
    limiter = RateLimiter(2.0, 3, lambda: now[0])
    limiter.take("a")

    now[0] = 3600.0
    for _ in range(3):
        limiter.take("a")
    with pytest.raises(RateLimitedError):
        limiter.take("a")


def test_a_refusal_costs_no_token():
    now = [0.0]
    limiter = RateLimiter(1.0, 1, lambda: now[0])
    limiter.take("a")
    for _ in range(5):
        with pytest.raises(RateLimitedError):
            limiter.take("a")

    now[0] = 1.0
    limiter.take("a")


def test_clients_do_not_share():
    limiter = RateLimiter(1.0, 1, lambda: 0.0)

    limiter.take("a")
    limiter.take("b")


def test_a_client_that_has_used_its_burst_up_is_remembered_longest():
    limiter = RateLimiter(1.0, 5, lambda: 0.0)
    for _ in range(5):
        limiter.take("greedy")
    for client in range(3 * rate_limit._SETS):
        limiter.take(str(client))

    with pytest.raises(RateLimitedError):
        limiter.take("greedy")


def test_any_number_of_clients_takes_the_same_memory():
    limiter = RateLimiter(1.0, 1, lambda: 0.0)
    for client in range(5 * rate_limit._SETS * rate_limit._WAYS):
        limiter.take(f"{client}")  # the one it takes the place of is forgotten

    assert len(limiter._buckets.clients) == rate_limit._SETS * rate_limit._WAYS


def test_processes_that_share_buckets_count_together():
    limiter = RateLimiter(0.001, 30, buckets=Buckets.new())

    def take(count: int) -> None:
        for _ in range(count):
            limiter.take("a")

    fork = multiprocessing.get_context("fork")
    for _ in range(2):
        worker = fork.Process(target=take, args=(10,))
        worker.start()
        worker.join()
    take(10)

    with pytest.raises(RateLimitedError):
        limiter.take("a")
