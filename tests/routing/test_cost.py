"""Tests of routing.cost: what asks cost and usually cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from routing.cost import Costs, Usual, bound, whole
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


def test_what_the_first_stage_costs_if_it_is_as_dear_as_lately() -> None:
    """With whoever stands in: a stage may have taken its time in vain. Of what is measured the dearest row that was seen; before
    that one of each."""
    dear = Target("dear", "t", "d", cost=40, price=Price(gpu_ms=1.0))
    plan = Plan("r", (Stage(dear),), 1.0, fallback={"dear": ROWS_ONLY})
    costs = Costs()
    assert 3 * (40 + 1 + 2) == costs.stage("m", plan, 3)
    costs.answered("m", dear, 2, 0.010, None)
    costs.answered("m", dear, 2, 0.002, None)
    assert pytest.approx(3 * (40 + 5 * 0.999 + 2)) == costs.stage("m", plan, 3)


def test_no_more_is_paid_for_than_the_price_says() -> None:
    """Neither milliseconds of an ask, nor tokens of its rows, told or guessed."""
    capped = replace(WHOLE, price=Price(2.0, 0.5, 0.001, "usage", most_ms=10.0, most_tokens=100))
    costs = Costs()
    assert pytest.approx(2 + 2 + 5 + 0.2) == costs.answered("m", capped, 2, 9.0, 1e6)
    for _ in range(9):
        costs.answered("m", capped, 50, 1.0, 5000.0)
    assert pytest.approx(2 + 1 + 5 + 0.1) == costs.let_go("m", capped, 1, 9.0)


FAST = Target("fast", "t", "f", cost=1.0, price=Price(gpu_ms=1.0), timeout=0.010)
SLOW = Target("slow", "t", "s", price=Price(call=3.0, gpu_ms=2.0))
CHAT = Target("chat", "t", "c", price=Price(gpu_ms=2.0, token=0.5, tokens="n", most_ms=20.0, most_tokens=8))


def test_the_most_that_asking_costs() -> None:
    """As long as there is time, as the variant may take and as is paid for; whoever stands in has what is left of the time."""
    plan = Plan("r", (Stage(FAST, 0.9), Stage(SLOW, 0.9), Stage(CHAT)), 1.0, fallback={"slow": CHAT, "chat": SLOW})
    assert [2 + 10, 2 + 4] == [bound(plan, FAST, 2, seconds) for seconds in (0.1, 0.004)]
    assert 3 + 8 + 2 * 100 == pytest.approx(bound(plan, SLOW, 2, 0.1))
    assert 2 + 2 * (3 + 8) + 2 * 100 == pytest.approx(whole(plan, 2, 0.1))
    assert 2 + 10 + 2 * (3 + 8 + 2 * 100) == pytest.approx(whole(replace(plan, speculate=0.5), 2, 0.1))


SOME = st.floats(0, 5)
TARGETS = st.builds(
    Target,
    st.sampled_from("abc"),
    st.just("t"),
    st.just("m"),
    cost=SOME,
    timeout=st.none() | st.floats(0.001, 2),
    price=st.none() | st.builds(Price, SOME, SOME, SOME, st.just("n"), st.none() | st.floats(0, 500), st.integers(1, 9)),
)


@given(
    st.lists(TARGETS, min_size=1, max_size=3, unique_by=lambda each: each.variant),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 100), st.booleans()), min_size=3, max_size=3),
    st.integers(1, 9),
    st.floats(0.001, 3),
)
def test_no_plan_costs_more(line: list[Target], took: list[tuple[float, float, bool]], rows: int, seconds: float) -> None:
    """However long each stage takes of the time that is left, and whatever it tells."""
    costs, plan, left, paid = Costs(), Plan("r", tuple(map(Stage, line)), seconds), seconds, 0.0
    for target, (part, tokens, answered) in zip(line, took, strict=False):
        taken = part * (left if target.timeout is None else min(left, target.timeout))
        left -= taken
        asked = costs.answered("m", target, rows, taken, tokens * rows) if answered else costs.let_go("m", target, rows, taken)
        assert asked <= bound(plan, target, rows, left + taken) * (1 + 1e-9)
        paid += asked
    assert paid <= whole(plan, rows, seconds) * (1 + 1e-9)
