"""A request's budget of time."""

import pytest

from services.core.errors import DeadlineError, InvalidInputError
from services.gateway.deadlines import Deadline


def at(now: list[float], budget_s: float = 2.0) -> Deadline:
    return Deadline(now[0] + budget_s, budget_s, lambda: now[0])


def test_what_is_left_shrinks_and_ends_at_zero():
    now = [100.0]
    deadline = at(now)

    now[0] = 101.5
    assert deadline.remaining_s() == pytest.approx(0.5)
    now[0] = 103.0
    assert deadline.remaining_s() == 0.0


def test_nothing_left_is_a_deadline_error_that_names_the_budget_and_the_stage():
    now = [100.0]
    deadline = at(now)
    now[0] = 102.0

    with pytest.raises(DeadlineError, match=r"2000 ms.*classify"):
        deadline.check("classify")


def test_a_share_is_part_of_what_is_left():
    now = [100.0]
    deadline = at(now)
    now[0] = 101.0

    assert deadline.share(0.5).remaining_s() == pytest.approx(0.5)


@pytest.mark.parametrize(("header", "budget_s"), [("500", 0.5), ("60000", 60.0), ("999999999", 60.0)])
def test_the_header_sets_the_budget_up_to_the_cap(header, budget_s):
    assert Deadline.from_header(header, most_ms=60_000).budget_s == budget_s


@pytest.mark.parametrize("header", ["", "0", "-1", "1.5", "soon", "²", "1" * 10])
def test_a_header_that_is_no_time_is_invalid_input(header):
    with pytest.raises(InvalidInputError, match="Request-Timeout-Ms"):
        Deadline.from_header(header, most_ms=60_000)
