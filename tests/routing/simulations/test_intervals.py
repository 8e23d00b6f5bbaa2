"""The intervals of A/B tests hold at all times together; FAULTS=long takes the counts that they are for."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from routing.rollout.experiment import Arm, Design, difference, size
from tests.faults.figures import LONG
from tests.routing.simulations.intervals import WORLDS, half_widths, looked_at, sticky

RUNS, UNITS = (1000, 20_000) if LONG else (200, 3_000)
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "name", WORLDS if LONG else ["50 %, no effect", "1 % → 2 %, a tenth to the candidate", "money, no effect"]
)
def test_the_interval_is_hardly_ever_wrong(name: str) -> None:
    """Looked at every ten units, in at most 5 % of the runs; an interval for one look is in far more."""
    found = looked_at(WORLDS[name], RUNS, UNITS, seed=3)
    assert found.wrong <= 0.05
    assert found.naive > 0.15


def test_heavy_users_count_once() -> None:
    """Whatever they ask again; the interval of all requests is wrong in most runs."""
    found = sticky(RUNS // 2, UNITS, seed=4)
    assert found.wrong <= 0.05
    assert found.naive > 0.5


def test_an_effect_is_found() -> None:
    """Of 7 % of a rating, in most runs."""
    assert looked_at(WORLDS["ratings, 7 % more"], RUNS // 2, 5_000, seed=5).shown > 0.7


def test_what_was_planned_is_found() -> None:
    """After the units that `penstock experiment plan` says the effect is found with the power that it says, or sooner."""
    units = size(Design(0.1), 0.03).anytime
    runs = 300
    found = looked_at(replace(WORLDS["10 % → 13 %"], narrowest=units), runs, units, seed=6)
    assert found.shown > 0.8 - 3 * math.sqrt(0.16 / runs)
    assert found.wrong <= 0.05


def test_the_simulated_interval_is_the_one_that_is_told() -> None:
    """To the last digits."""
    arms = [(40, 10.0, 8.0), (900, 31.0, 20.5), (10, 1.0, 1.0)], [(60, 20.0, 15.0), (800, 30.0, 20.0), (10, 1.0, 1.0)]
    columns = [(np.array([a[i] for a in arms[0]], float), np.array([a[i] for a in arms[1]], float)) for i in range(3)]
    wide = half_widths(columns[0], columns[1], columns[2], 0.05, 2_000)
    for index, (stable, candidate) in enumerate(zip(*arms, strict=True)):
        found = difference(Arm(*stable), Arm(*candidate), 0.05, 2_000)
        assert (found.high - found.low) / 2 == pytest.approx(min(wide[index], 1.0))
