"""What is known of sticky units."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.rollout.seen import Seen

PLACES = st.floats(0, 1, exclude_min=True, exclude_max=True)
WEIGHTS = st.lists(st.floats(0.01, 1), min_size=1, max_size=6)


@given(PLACES, WEIGHTS)
def test_a_unit_is_a_coin_once_at_each_weight(place: float, weights: list[float]) -> None:
    """The second event at a weight, or at a smaller one, says nothing."""
    seen = Seen()
    for index, weight in enumerate(weights):
        chance = seen.coin(place, weight)
        assert 0 <= chance <= 1
        assert (chance > 0) == all(weight > before and place >= before for before in weights[:index])
        assert 0 == seen.coin(place, weight)


def test_a_grown_weight_makes_the_coin_that_is_left() -> None:
    """Stable at 5 %, it is the candidate's at 24 % with (0.24 - 0.05) / 0.95; once it is so, it stays so."""
    seen = Seen()
    assert 0.05 == seen.coin(0.2, 0.05)
    assert math.isclose(0.2, seen.coin(0.2, 0.24))
    assert 0 == seen.coin(0.2, 1.0)


def test_the_coins_are_as_fair_as_they_say() -> None:
    """Over 20 000 units and three weights, as many are the candidate's as the chances add up to, within five standard errors."""
    rng = random.Random(1)
    for known, weight in ((0.0, 0.05), (0.05, 0.25), (0.25, 0.5)):
        seen, expected, found, count = Seen(), 0.0, 0, 0
        for place in (rng.random() for _ in range(20_000)):
            if known:
                seen.coin(place, known)
            chance = seen.coin(place, weight)
            count += chance > 0
            expected += chance
            found += chance > 0 and place < weight
        assert abs(found - expected) < 5 * math.sqrt(expected * (1 - expected / count))


def test_when_it_is_full_new_units_do_not_count() -> None:
    """Those that are known still do; so the memory is bounded, and nobody counts twice."""
    seen = Seen(most=1)
    assert 0.5 == seen.coin(0.7, 0.5)
    assert 0 == seen.coin(0.1, 0.5)
    assert (True, False) == (seen.knows(0.1, 0.5), seen.knows(0.7, 0.6))
    assert seen.coin(0.7, 0.6) == pytest.approx(0.2)
    assert 1 == len(seen)


def test_what_was_stored_is_known() -> None:
    """After a restart nothing counts a second time."""
    before = Seen()
    before.coin(0.7, 0.5)
    assert 0 == Seen(before.known).coin(0.7, 0.5)


def test_what_others_have_seen() -> None:
    """Whoever knows more goes on knowing it, and what came not to count is as before."""
    seen = Seen({0.3: 0.1})
    seen.learn(0.3, 0.05)
    seen.learn(0.4, 1.0)
    assert {0.3: 0.1, 0.4: 1.0} == seen.known
    seen.forget(0.3, 0.05)
    seen.forget(0.4, None)
    assert {0.3: 0.05} == seen.known
