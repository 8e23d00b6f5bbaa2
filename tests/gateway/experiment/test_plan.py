"""How long an A/B test has to run."""

from __future__ import annotations

import json
from statistics import NormalDist

import numpy as np
import pytest
from msgspec.structs import replace

from gateway.experiment.plan import Wanted, plan, sentences

RATE = Wanted(0.03, None, 0.003, None, 20_000.0, 0.5, 0.05, 0.8, None)
MEAN = Wanted(42.0, 60.0, 2.0, None, None, 0.1, 0.05, 0.8, 10)


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_units_of_a_mean_are_those_of_the_textbook() -> None:
    """(z(97.5 %) + z(80 %))² σ² (1/w + 1/(1 - w)) / d²."""
    z = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)
    assert plan(MEAN, rng()).fixed.units == pytest.approx(z**2 * 3600 * (1 / 0.1 + 1 / 0.9) / 4, abs=2)


def test_the_units_show_the_effect_that_they_are_for() -> None:
    """Asked the other way round the answer is the same, and days are units by units a day."""
    sizes = plan(RATE, rng())
    for units, way in ((sizes.fixed.units, "fixed"), (sizes.anytime.units, "anytime")):
        back = plan(replace(RATE, effect=None, units=units), rng())
        assert 0.003 == pytest.approx(getattr(back, way).effect, rel=1e-3)
    assert sizes.anytime.units / 20_000 == sizes.anytime.days
    assert 1.5 < sizes.price < 2.5


def test_a_peek_a_day_has_its_price() -> None:
    """As many looks as there are days; false alarms are far above what was wanted."""
    found = plan(RATE, rng())
    assert 6 == found.looks
    assert 0.12 < found.false_alarms < 0.18
    assert 0.05 == pytest.approx(plan(replace(RATE, looks=1), rng()).false_alarms, abs=0.008)


def test_what_cannot_be_found_is_no_answer() -> None:
    """Nor is anything infinite in the JSON."""
    found = plan(replace(RATE, effect=None, units=2), rng())
    assert not found.possible
    assert "Infinity" not in json.dumps(found.told())
    assert 1 == len(list(sentences(found)))


@pytest.mark.parametrize(
    "wrong",
    [{"rate": 0.0}, {"effect": 0.0}, {"effect": 0.98}, {"weight": 1.0}, {"alpha": 0.0}, {"per_day": 0.0}, {"looks": 0},
     {"effect": None, "units": 0}],
)  # fmt: skip
def test_nonsense_is_refused(wrong: dict[str, float]) -> None:
    """Each in a sentence."""
    with pytest.raises(ValueError, match=r"[a-z]+ "):
        plan(replace(RATE, **wrong), rng())
