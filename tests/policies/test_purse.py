"""Tests of policies.purse: how many rows go up a cascade."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from policies.call import Call
from policies.purse import SAVED, Purses
from routing.bill import Bill
from routing.cost import Costs
from routing.plan import Target
from routing.price import Price

Make = Callable[..., Call]
STAGES = (("fast", 0.9), ("dear", None))


def test_no_budget_at_all(make_call: Make) -> None:
    """Whoever has none goes up as often as he likes."""
    call, purses = make_call(4, STAGES), Purses(Costs())
    assert all(purses.may(call, call.plan.stages[1].target, 4, 1.0) for _ in range(1000))


def test_what_a_question_may_cost(make_call: Make) -> None:
    """40 a row: the stage is asked about as many rows as there is room for, or not at all."""
    call, purses = replace(make_call(4, STAGES), bill=Bill(102.0, first=2.0)), Purses(Costs())
    assert [False, True, False] == [purses.may(call, call.plan.stages[1].target, rows, 1.0) for rows in (3, 2, 1)]


def test_as_long_as_the_target_may_take(make_call: Make) -> None:
    """Held for it is what that time costs at most."""
    call, purses = replace(make_call(1, STAGES), bill=Bill(100.0)), Purses(Costs())
    timed = Target("timed", "t", "m", price=Price(gpu_ms=1.0))
    assert [False, True, False] == [purses.may(call, timed, 1, seconds) for seconds in (0.101, 0.060, 0.041)]


@given(st.floats(0.01, 0.9), st.lists(st.tuples(st.integers(1, 64), st.floats(0, 1)), max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_never_more_than_the_share(make_call: Make, share: float, questions: list[tuple[int, float]]) -> None:
    """Of all rows that came, what was saved, and one question's."""
    purses, came, up, largest = Purses(Costs()), 0, 0, 0
    for rows, unsure in questions:
        call = make_call(rows, STAGES)
        call = replace(call, plan=replace(call.plan, budget=share))
        purses.began(call)
        came, wanted = came + rows, round(unsure * rows)
        if wanted and purses.may(call, call.plan.stages[1].target, wanted, 1.0):
            up, largest = up + wanted, max(largest, wanted)
        assert up <= share * came + share * SAVED + largest
