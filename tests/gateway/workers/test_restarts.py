"""Pauses between deaths."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.workers.restarts import FIRST, LONGEST, STEADY, Restarts


def test_pauses_grow_with_deaths_in_a_row() -> None:
    """Twice as long each time, up to a bound."""
    restarts = Restarts()
    assert [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0] == [restarts.died(1.0) for _ in range(9)]


def test_a_steady_life_is_a_new_beginning() -> None:
    """Who dies once a day is started at once."""
    restarts = Restarts()
    for _ in range(5):
        restarts.died(0.0)
    assert [FIRST, 2 * FIRST] == [restarts.died(STEADY), restarts.died(0.0)]


@given(st.lists(st.floats(0, 1e9)))
def test_a_pause_is_never_nothing_and_never_for_ever(lives: list[float]) -> None:
    """However the workers lived."""
    restarts = Restarts()
    assert all(FIRST <= restarts.died(life) <= LONGEST for life in lives)
