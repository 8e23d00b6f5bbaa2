"""Who takes part in a rollout, and where."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from routing.rollout.units import Excluded, Holdout, holding, placing, remembered

COUNT = 20_000
UNITS = [f"tenant-{index}" for index in range(COUNT)]
EVERYBODY = Excluded()
SHARES = st.floats(0, 1)


def near(share: float, found: int) -> bool:
    """Whether so many of COUNT units are that share, within five standard errors."""
    return abs(found / COUNT - share) < 5 * math.sqrt(share * (1 - share) / COUNT)


def candidates(rollout: str, weight: float, excluded: Excluded = EVERYBODY) -> set[str]:
    place = placing(rollout, excluded)
    return {unit for unit in UNITS if (found := place(unit)) is not None and found < weight}


def test_the_candidate_gets_its_share() -> None:
    """Of 20 000 units it is the weight, within five standard errors."""
    assert all(near(weight, len(candidates("m/s/c/1", weight))) for weight in (0.01, 0.05, 0.25, 0.5))


@given(st.text(), SHARES, SHARES)
def test_nobody_moves_back(unit: str, one: float, other: float) -> None:
    """Who is the candidate's at a weight is so at every larger one."""
    place = placing("m/s/c/1", EVERYBODY)(unit)
    assert place is not None
    assert place >= min(one, other) or place < max(one, other)


def test_rollouts_are_independent() -> None:
    """Another attempt, another rollout: another draw."""
    assert near(0.25, len(candidates("m/s/c/1", 0.5) & candidates("m/s/c/2", 0.5)))


def test_a_group_keeps_its_rollouts_apart() -> None:
    """No unit is in two of them; each has its part, and its weight of that."""
    first = candidates("a", 0.5, Excluded("checkout", 0.0, 0.4))
    second = candidates("b", 1.0, Excluded("checkout", 0.4, 1.0))
    assert not first & second
    assert near(0.2, len(first))
    assert near(0.6, len(second))


@given(st.text(), st.lists(SHARES, min_size=1, max_size=5), st.lists(SHARES, min_size=6, max_size=6))
def test_whatever_the_parts_and_weights_nobody_is_in_two(unit: str, cuts: list[float], weights: list[float]) -> None:
    """Of any rollouts of a group a unit meets one candidate at most, and takes part in exactly one where the parts are all."""
    parts = list(pairwise([0.0, *sorted(cuts), 1.0]))
    places = [placing(f"r{index}", Excluded("g", low, high))(unit) for index, (low, high) in enumerate(parts)]
    assert 1 == sum(place is not None for place in places)
    met = [place is not None and place < weight for place, weight in zip(places, weights, strict=False)]
    assert sum(met) <= 1


@given(st.text(), SHARES, SHARES)
def test_a_holdout_that_grows_keeps_whom_it_has(unit: str, one: float, other: float) -> None:
    """Who is held out is so at every larger share."""
    small, large = (holding(Holdout(share, "tenant"))(unit) for share in sorted((one, other)))
    assert large or not small


def test_lines_are_independent() -> None:
    """Holdout, part of the group and side of the rollout are as three coins (chi-square, 7 degrees of freedom)."""
    held, rollouts = holding(Holdout(0.5, "tenant")), [placing("a", Excluded("g", *part)) for part in ((0.0, 0.5), (0.5, 1.0))]
    counts = np.zeros((2, 2, 2))
    for unit in UNITS:
        places = [place(unit) for place in rollouts]
        part = int(places[0] is None)
        at = places[part]
        assert at is not None
        counts[int(held(unit)), part, int(at < 0.5)] += 1
    assert ((counts - COUNT / 8) ** 2 / (COUNT / 8)).sum() < 29.9  # one in 10 000


def test_units_that_come_again() -> None:
    """Stand where they stood, and are hashed once, however many others come between."""
    hashed: list[str] = []

    def place(unit: str) -> float:
        hashed.append(unit)
        return float(unit) / 10_000

    found = remembered(place)
    assert [0.0001, 0.0001, 0.0002] == [found(unit) for unit in ("1", "1", "2")]
    assert ["1", "2"] == hashed
    assert [number / 10_000 for number in range(9_000)] == [found(str(number)) for number in range(9_000)]
    assert 0.0001 == found("1")
