"""Shares that are not those that were drawn."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.rollout.mismatch import ALPHA, mismatch

WEIGHTS = st.floats(0.01, 0.99)


@given(WEIGHTS, st.integers(0, 300), st.integers(0, 300))
def test_a_fair_draw_leaves_the_mean_where_it_is(weight: float, stable: int, candidate: int) -> None:
    """Whatever was drawn, the expected evidence after one more right draw is the evidence before: a martingale."""
    before = mismatch({weight: (stable, candidate)})
    after = weight * math.exp(mismatch({weight: (stable, candidate + 1)}) - before)
    after += (1 - weight) * math.exp(mismatch({weight: (stable + 1, candidate)}) - before)
    assert after == pytest.approx(1, abs=1e-9)


def test_it_is_the_mixture_of_likelihoods() -> None:
    """The closed form is the integral of the likelihood ratio over the Beta distribution, here as a sum of 20 000 parts."""
    weight, stable, candidate, parts = 0.25, 30, 22, 20_000
    total = mixed = 0.0
    for part in range(parts):
        share = (part + 0.5) / parts
        density = share ** (80 * weight - 1) * (1 - share) ** (80 * (1 - weight) - 1)
        total += density
        mixed += density * (share / weight) ** candidate * ((1 - share) / (1 - weight)) ** stable
    assert math.exp(mismatch({weight: (stable, candidate)})) == pytest.approx(mixed / total, rel=1e-6)


def test_weights_multiply() -> None:
    """Each weight's draws are evidence of their own; none and all are no coin."""
    both = mismatch({0.05: (900, 80), 0.25: (700, 300)})
    assert mismatch({0.05: (900, 80)}) + mismatch({0.25: (700, 300)}) == pytest.approx(both)
    assert 0 == mismatch({0.0: (900, 1), 1.0: (3, 100)})
    assert 0 == mismatch({})


def test_large_mistakes_are_noticed() -> None:
    """Half of the candidate's lost at 5 %: noticed before 2 000 draws, and right shares are not."""
    assert mismatch({0.05: (1950, 50)}) > -math.log(ALPHA)
    assert mismatch({0.05: (1900, 100)}) < 0
