"""Tests of routing.cost: what asks cost and usually cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.cost import Costs, Usual
from routing.plan import Plan, Stage, Target
from routing.price import Price

ROWS_ONLY = Target("fast", "triton", "f", cost=2.0)
WHOLE = Target("dear", "triton", "d", cost=1.0, price=Price(call=2.0, gpu_ms=0.5, token=0.001, tokens="usage"))


def test_every_part_is_paid() -> None:
    """The ask, its rows, its milliseconds and its tokens."""
    costs = Costs()
    assert 6.0 == costs.answered("m", ROWS_ONLY, 3, 9.0, None)
    assert pytest.approx(2 + 3 + 0.5 * 40 + 0.001 * 500) == costs.answered("m", WHOLE, 3, 0.040, 500.0)


def test_tokens_that_nobody_tells_are_as_many_as_usual() -> None:
    """None before anybody has told any; who hides them does not ask for nothing."""
    costs = Costs()
    assert 3.0 == costs.answered("m", WHOLE, 1, 0.0, None)
    for _ in range(50):
        costs.answered("m", WHOLE, 1, 0.0, 1000.0)
    assert pytest.approx(4.0) == costs.answered("m", WHOLE, 1, 0.0, None) == costs.let_go("m", WHOLE, 1, 0.0)


def test_what_takes_so_much_for_itself_and_so_much_for_each_row_is_told_apart() -> None:
    """A line through what was seen; of one size alone every row takes its part."""
    line, alone = Usual(), Usual()
    for rows in (1, 4, 32, 8) * 20:
        line.saw(rows, 10 + 3 * rows)
        alone.saw(8, 34.0)
    assert [13.0, 310.0] == pytest.approx([line.likely(1), line.likely(100)])
    assert [4.25, 34.0] == pytest.approx([alone.likely(1), alone.likely(8)])


@given(st.lists(st.tuples(st.integers(1, 500), st.floats(0, 1e6)), min_size=1, max_size=50), st.integers(1, 500))
def test_an_estimate_is_never_below_nothing_and_grows_with_the_rows(seen: list[tuple[int, float]], rows: int) -> None:
    """Whatever was seen."""
    usual = Usual()
    for each in seen:
        usual.saw(*each)
    assert 0 <= usual.likely(rows) * (1 - 1e-9) <= usual.likely(rows + 1) + 1e-6
    assert usual.most(rows) >= 0


def test_the_dearest_is_that_of_the_very_question() -> None:
    """A variant with a price for each ask is dear for one row, and cheap for many."""
    flat = Target("flat", "triton", "f", price=Price(call=10.0))
    costs = Costs()
    assert [10.0, 10.0, 40.0] == [costs.dearest("m", [flat, ROWS_ONLY], rows) for rows in (1, 5, 20)]


def test_the_most_that_a_plan_costs() -> None:
    """All stages about all rows, and whoever stands in: a stage may have taken its time in vain. Of what is measured the dearest
    row that was seen; before that one of each."""
    cheap, dear = Target("cheap", "t", "c", cost=1), Target("dear", "t", "d", cost=40, price=Price(gpu_ms=1.0))
    plan = Plan("r", (Stage(cheap, 0.9), Stage(dear)), 1.0, fallback={"dear": ROWS_ONLY})
    costs = Costs()
    assert 3 * (1 + 40 + 1 + 2) == costs.whole("m", plan, 3)
    costs.answered("m", dear, 2, 0.010, None)
    costs.answered("m", dear, 2, 0.002, None)
    assert pytest.approx(3 * (1 + 40 + 5 * 0.999 + 2)) == costs.whole("m", plan, 3)
