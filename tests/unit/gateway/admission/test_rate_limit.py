"""Token buckets."""

import pytest

from services.core.errors import RateLimitedError
from services.gateway.admission import rate_limit
from services.gateway.admission.rate_limit import RateLimiter


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


def test_clients_that_stay_away_are_forgotten(monkeypatch):
    monkeypatch.setattr(rate_limit, "_CLIENTS_REMEMBERED", 10)
    limiter = RateLimiter(1.0, 5, lambda: 0.0)
    for client in range(100):
        limiter.take(str(client))

    assert len(limiter._buckets) == 10
