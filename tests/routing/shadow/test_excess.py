"""Whether the candidate differs by more than noise: the mathematics of the test; its bars are in tests/faults."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.shadow import excess as ex

BAR = 0.01 / 50  # fifty fields to be wrong about
COUNTS = st.tuples(st.integers(0, 400), st.integers(0, 400))


@given(COUNTS)
def test_the_bet_is_fair(counts: tuple[int, int]) -> None:
    """Under "no difference" the wealth after the next pair is on average what it was: the martingale property itself."""
    worse, better = counts
    after = [ex.log_wealth(worse + 1, better), ex.log_wealth(worse, better + 1)]
    assert pytest.approx(ex.log_wealth(worse, better), abs=1e-9) == np.logaddexp(after[0], after[1]) - np.log(2)


def test_a_stake_is_one() -> None:
    """The wealth begins with 1."""
    assert pytest.approx(0, abs=1e-9) == ex.log_wealth(0, 0)


def test_fourteen_in_a_row_prove_it_among_fifty_fields() -> None:
    """And thirteen do not."""
    assert ex.proven(14, 0, BAR)
    assert not ex.proven(13, 0, BAR)


@given(st.integers(0, 300), st.integers(1, 300))
def test_a_share_lies_within_its_bounds(count: int, more: int) -> None:
    """Which lie between 0 and 1 and get closer with more of the same."""
    few, many = ex.share(count, count + more, 0.05), ex.share(4 * count, 4 * (count + more), 0.05)
    assert 0 <= few.low <= few.value <= few.high <= 1
    assert many.high - many.low <= few.high - few.low


def test_bounds_of_a_share_hold_at_all_times() -> None:
    """Looked at after each of 1 000 draws they miss the truth in fewer runs than alpha; an ordinary interval in a third."""
    chance, runs, alpha = np.random.default_rng(11), 100, 0.05
    draws = np.cumsum(chance.random((1000, runs)) < 0.3, axis=0)
    seen = np.arange(1, 1001)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        ordinary = np.abs(draws / seen - 0.3) > 1.96 * np.sqrt(draws / seen * (1 - draws / seen) / seen)
    looks = range(9, 1000, 30)
    misses = 0
    for run in range(runs):
        bounds = [ex.share(int(draws[at, run]), at + 1, alpha) for at in looks]
        misses += any(not each.low <= 0.3 <= each.high for each in bounds)
    assert misses <= 9
    assert ordinary[9:].any(axis=0).sum() >= 30


def test_the_excess_and_how_far_it_is_known() -> None:
    """None of 1 500 pairs is below 1 %; of a noisy field many more are needed."""
    assert ex.excess(0, 0, 1500, BAR / 2).high <= 0.01
    assert pytest.approx(0.05) == ex.excess(1200, 900, 6000, BAR).value
    assert ex.excess(1200, 900, 6000, BAR).low > 0
    assert ex.Interval(0, -1, 1) == ex.excess(0, 0, 0, BAR)


def test_how_many_more() -> None:
    """None where it is known already; about as many as are missing; no end where it goes the other way."""
    assert 0 == ex.pairs_until_same(0, 0, 1500, 0.01, BAR)
    more = ex.pairs_until_same(0, 0, 100, 0.01, BAR)
    assert ex.excess(0, 0, 100 + more, BAR).high <= 0.01
    assert 800 <= more <= 1600
    assert 0 == ex.pairs_until_proven(20, 0, 2000, BAR)
    assert 800 <= ex.pairs_until_proven(5, 0, 500, BAR) <= 1100
    assert ex.FAR == ex.pairs_until_proven(5, 5, 500, BAR)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 60))
def test_how_many_more_is_always_found_out(worse: int, better: int, more: int) -> None:
    """Of whatever counts; with so many more of the same it holds."""
    pairs = worse + better + more
    for until in (ex.pairs_until_proven(worse, better, pairs, BAR), ex.pairs_until_same(worse, better, pairs, 0.01, BAR)):
        assert 0 <= until <= ex.FAR
