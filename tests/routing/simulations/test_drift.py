"""The bars of a cascade's audit in a short form; FAULTS=long, or `python -m tests.routing.simulations.drift`, takes more runs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from routing.cascade.watch import Watch, observe
from tests.faults.figures import LONG
from tests.routing.simulations.drift import BAD, GOOD, METHODS, PROMISED, Detector, Draw, alarms, clumped, delays, steady

RUNS = 2000 if LONG else 150

pytestmark = pytest.mark.slow


def test_a_drift_is_found_soon_however_long_it_was_good() -> None:
    """From .6 % to 3 % within 400 audited requests on average; a martingale that has lost for long needs far more."""
    good = 20_000 if LONG else 2000
    found = {name: delays(METHODS[name], steady(GOOD, RUNS, 1), steady(BAD, RUNS, 2), RUNS, good, 3000) for name in METHODS}
    assert 400 >= found["audit"].mean()
    assert 800 < found["martingale, not renewed, α = 1 %"].mean()
    assert 400 < found["test on the last 400, α = 1/10 000"].mean()  # the one with few enough false alarms


@pytest.mark.parametrize("draw", [steady, clumped])
def test_false_alarms(draw: Callable[[float, int, int], Draw]) -> None:
    """One in 10 000 audited requests at most, exactly at the promise, also where rows of a request are wrong together."""
    found, _ = alarms(METHODS["audit"], draw(PROMISED, RUNS, 3), RUNS, 10_000)
    assert 1.0 >= found


def test_what_people_use_alarms_too_often() -> None:
    """A test on a window that finds the drift as soon, and a rate that is looked at."""
    for name in ("test on the last 400, α = 1 %", "rate of the last 400 above the promise"):
        assert 1.3 < alarms(METHODS[name], steady(PROMISED, RUNS, 4), RUNS, 10_000)[0]


def test_the_simulated_detector_is_the_real_one() -> None:
    """Both alarm at the same request."""
    rng = np.random.default_rng(5)
    bad = [int(each) for each in rng.binomial(4, 0.03, 2000)]
    watch, simulated, first = observe(Watch(), PROMISED, [(each, 4) for each in bad]), Detector(1), 0
    for number, each in enumerate(bad, 1):
        if simulated.saw(np.array([each / 4])).any() and not first:
            first = number
    assert first == watch.alarm > 0
