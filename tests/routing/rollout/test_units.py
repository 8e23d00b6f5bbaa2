"""Who takes part in a rollout, and where."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from routing.rollout.units import Excluded, placing

COUNT = 20_000
UNITS = [f"tenant-{index}" for index in range(COUNT)]
EVERYBODY = Excluded()


def near(share: float, found: int) -> bool:
    """Whether so many of COUNT units are that share, within five standard errors."""
    return abs(found / COUNT - share) < 5 * math.sqrt(share * (1 - share) / COUNT)


def candidates(rollout: str, weight: float, excluded: Excluded = EVERYBODY) -> set[str]:
    place = placing(rollout, excluded)
    return {unit for unit in UNITS if (found := place(unit)) is not None and found < weight}


def test_the_candidate_gets_its_share() -> None:
    """Of 20 000 units it is the weight, within five standard errors."""
    assert all(near(weight, len(candidates("m/s/c/1", weight))) for weight in (0.01, 0.05, 0.25, 0.5))


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
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


def test_the_holdout_meets_no_candidate() -> None:
    """The same tenth of the units is in no rollout, whichever it is."""
    held = set(UNITS) - candidates("a", 1.0, Excluded(holdout=0.1))
    assert near(0.1, len(held))
    assert held == set(UNITS) - candidates("b", 1.0, Excluded("group", holdout=0.1))
