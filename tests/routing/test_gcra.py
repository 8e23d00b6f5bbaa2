"""Tests of routing.gcra: in no window conforms more than rate and burst allow, and nothing that fits is refused."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.gcra import SLACK, gcra, left, wait

GAPS = st.lists(st.tuples(st.fractions(0, 3), st.integers(1, 4)), min_size=1, max_size=40)  # seconds since the last; cost


def admitted(gaps: list[tuple[Fraction, int]], interval: Any, burst: int) -> list[tuple[Fraction, int]]:
    """When what was let through, with its cost."""
    tat: Any = Fraction(0)  # exact numbers count as floats do
    now: Any = tat
    found = []
    for gap, cost in gaps:
        now += gap
        allowed, tat, _ = gcra(tat, now, cost, interval, burst)
        if allowed:
            found.append((now, cost))
    return found


@given(GAPS, st.fractions(Fraction(1, 50), 2), st.integers(4, 8))
def test_no_window_has_more_than_rate_and_burst(gaps: list[tuple[Fraction, int]], interval: Any, burst: int) -> None:
    """Between any two that pass, both included, no more passes than the burst and what leaks in that time."""
    passed = admitted(gaps, interval, burst)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            seconds = passed[last][0] - passed[first][0] + Fraction(SLACK)
            assert sum(cost for _, cost in passed[first : last + 1]) <= seconds / interval + burst


@given(GAPS, st.fractions(Fraction(1, 50), 2), st.integers(4, 8))
def test_a_refusal_is_as_long_as_it_says(gaps: list[tuple[Fraction, int]], interval: Any, burst: int) -> None:
    """After the time it tells it passes, and not clearly before; a refusal leaves the bucket as it was."""
    tat: Any = Fraction(0)
    now: Any = tat
    for gap, cost in gaps:
        now += gap
        allowed, new, again = gcra(tat, now, cost, interval, burst)
        if not allowed:
            assert (tat, True) == (new, again > SLACK)
            assert 0 == wait(tat, now + again, cost, interval, burst)
            assert 0 < wait(tat, now + again - 2 * Fraction(SLACK), cost, interval, burst)
        tat = new


@pytest.mark.parametrize("rate", [1.0, 3.0, 100.0, 7919.0, 1e6])
def test_a_burst_passes_whole(rate: float) -> None:
    """Rounding costs nobody a request: of a full bucket exactly its units pass at one moment, long after the clock began."""
    now, tat, passed = 1e6, 0.0, 0
    for _ in range(250):
        allowed, tat, _ = gcra(tat, now, 1, 1 / rate, 200)
        passed += allowed
    assert 200 == passed


@pytest.mark.parametrize("rate", [0.7, 10.0, 333.0])
def test_the_steady_rate_is_exact(rate: float) -> None:
    """Asked for twice as much, as evenly as it comes, within 1 % of the rate passes; the burst comes on top once."""
    tat, passed, seconds = 0.0, 0, 1000 / rate
    for step in range(2000):
        allowed, tat, _ = gcra(tat, step * seconds / 2000, 1, 1 / rate, 5)
        passed += allowed
    assert abs(passed - (rate * seconds + 5)) <= 0.01 * rate * seconds


def test_what_is_larger_than_the_bucket_waits_for_an_empty_one() -> None:
    """It would never fit otherwise; then its whole cost is paid for."""
    assert (True, 30.0, 0.0) == gcra(0.0, 0.0, 30, 1.0, 10)
    assert (False, 30.0, 20.0) == gcra(30.0, 10.0, 30, 1.0, 10)
    assert (False, 30.0, 11.0) == gcra(30.0, 10.0, 1, 1.0, 10)
    assert (True, 60.0, 0.0) == gcra(30.0, 30.0, 30, 1.0, 10)


def test_left() -> None:
    """Whole units, rounding forgiven, and never less than none."""
    assert 10 == left(0.0, 5.0, 0.1, 10)
    assert 7 == left(5.3, 5.0, 0.1, 10)
    assert 6 == left(5.35, 5.0, 0.1, 10)
    assert 0 == left(99.0, 5.0, 0.1, 10)
