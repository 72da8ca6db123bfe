"""When the shadow works: gathered calls, no user waiting, pauses after failures."""

import pytest

from services.gateway.reading.shadow_pace import BUSY_S, GATHER_S, MOST_RETRY_S, RETRY_S, Pace


@pytest.fixture
def now():
    return [100.0]


@pytest.fixture
def busy():
    return [False]


@pytest.fixture
def pace(now, busy):
    return Pace(busy=lambda: busy[0], clock=lambda: now[0])


def test_a_call_waits_for_others_until_a_batch_is_full_or_it_has_waited_long(pace, now):
    assert not pace.is_time(full=False, since_s=now[0] - 0.9 * GATHER_S)
    assert pace.is_time(full=False, since_s=now[0] - GATHER_S)
    assert pace.is_time(full=True, since_s=now[0])


def test_while_users_wait_there_is_a_batch_now_and_then(pace, now, busy):
    pace.succeeded()
    busy[0] = True

    assert not pace.is_time(full=True, since_s=0.0)
    now[0] += BUSY_S
    assert pace.is_time(full=True, since_s=0.0)
    pace.succeeded()
    assert not pace.is_time(full=True, since_s=0.0)
    busy[0] = False
    assert pace.is_time(full=True, since_s=0.0)


def test_pauses_after_failures_double_up_to_a_bound_and_end_with_an_answer(pace, now):
    pauses = []
    for _ in range(6):
        assert pace.is_open
        pace.failed()
        started = now[0]
        while not pace.is_open:
            now[0] += 0.5
        pauses.append(now[0] - started)
    pace.succeeded()
    pace.failed()
    now[0] += RETRY_S

    assert pauses == [RETRY_S, 2 * RETRY_S, 4 * RETRY_S, 8 * RETRY_S, MOST_RETRY_S, MOST_RETRY_S]
    assert pace.is_open
