"""Recorded times, and what they make of asks that nobody has made."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.review.traffic.times import Spread, Timetable, after, size, sized

times = st.lists(st.floats(0.01, 1e5), min_size=1, max_size=200)


def spread(*values: float) -> Spread:
    """Of these times."""
    found = Spread()
    for value in values:
        found.add(value)
    return found


@given(times, st.floats(0.01, 1.0))
def test_quantiles_are_right_within_two_per_cent(values: list[float], share: float) -> None:
    """The mean exactly, a quantile by its bucket."""
    found = spread(*values)
    ordered = sorted(values)
    wanted = ordered[min(len(values) - 1, max(0, -int(-share * len(values) // 1) - 1))]
    assert sum(values) / len(values) == pytest.approx(found.mean)
    told = found.quantile(share)
    assert told is not None
    near = [value for value in ordered if abs(told / value - 1) < 0.021]
    assert near
    assert any(abs(ordered.index(value) - ordered.index(wanted)) <= 1 for value in near) or abs(told / wanted - 1) < 0.021


def test_there_may_be_none() -> None:
    """Nothing recorded, or less than is asked for."""
    assert (0.0, None) == (Spread().mean, Spread().quantile(0.95))
    assert None is spread(1.0).quantile(1.5)


def test_another_is_taken_in_by_weight() -> None:
    """As if its times weighed so much."""
    found = spread(10.0)
    found.take(spread(20.0, 40.0), 3.0)
    found.take(Spread(), 5.0)
    assert 4.0 == found.weight
    assert pytest.approx(25.0) == found.mean


def test_one_after_the_other() -> None:
    """Means add up; so, taken to be independent, do all the rest."""
    chance = random.Random(1)
    first = [chance.expovariate(0.2) + 1 for _ in range(2000)]
    second = [chance.expovariate(0.05) + 2 for _ in range(2000)]
    found = after(spread(*first), spread(*second))
    real = sorted(one + other for one, other in zip(first, chance.sample(second, len(second)), strict=True))
    assert sum(real) / len(real) == pytest.approx(found.mean)
    assert real[int(0.95 * len(real))] == pytest.approx(found.quantile(0.95), rel=0.08)
    assert 0.0 == after(Spread(), spread(1.0)).weight


def test_expected_times_are_those_of_the_same_model_and_size() -> None:
    """Of the nearest size where there is none of that one; of a chain as recorded, else one ask after the other."""
    table = Timetable()
    table.asked("f", 1, 2.0, 1.0)
    table.asked("f", 64, 9.0, 1.0)
    table.asked("a", 1, 30.0, 1.0)
    table.chained((("f", 1), ("a", 1)), 35.0, 1.0)
    means = [
        None if (found := table.expected(asked)) is None else found.mean
        for asked in ((("f", 1),), (("f", 7),), (("f", 3),), (("f", 1), ("a", 1)), (("f", 7), ("a", 1)), (("x", 1),))
    ]
    assert [2.0, 9.0, 2.0, 35.0, pytest.approx(39.0), None] == means


def test_sizes() -> None:
    """Powers of two apart."""
    assert [1, 2, 2, 3, 7] == [size(rows) for rows in (1, 2, 3, 4, 64)]
    assert (("f", 1), ("a", 3)) == sized((("f", 1), ("a", 5)))
