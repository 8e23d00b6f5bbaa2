"""What a comparison of two rates needs and says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.rollout.experiment import MOST, Design, detectable, half_width, interval, power, power_anytime, size, variance

DESIGN = Design(0.01)
RATES = st.floats(0.001, 0.5)


def test_the_sizes_are_those_of_the_textbook() -> None:
    """From 10 % to 12 % at 5 % with a power of 80 %: 3 841 of each side by (1.96 + 0.8416)² (0.1 * 0.9 + 0.12 * 0.88) / 0.02²."""
    assert abs(2 * 3839 - size(Design(0.1), 0.02).fixed) <= 2
    ours = 2 * (1.959964 + 0.841621) ** 2 * (0.09 + 0.1056) / 0.0004
    assert math.ceil(ours) == size(Design(0.1), 0.02).fixed


@given(RATES, st.floats(0.05, 0.95), st.floats(0.005, 0.4), st.booleans())
def test_what_a_number_can_show_needs_that_number(rate: float, weight: float, effect: float, anytime: bool) -> None:
    """The smallest effect that a size can show is the effect of that size."""
    design = Design(rate, weight)
    found = size(design, effect)
    number = found.anytime if anytime else found.fixed
    if number > 100:
        assert effect == pytest.approx(detectable(design, number, anytime), rel=0.01)


def test_peeking_has_its_price() -> None:
    """About twice as many requests, and always more than one look at the end."""
    found = size(DESIGN, 0.002)
    assert 1.5 < found.price < 2.5
    assert detectable(DESIGN, 100_000, anytime=True) > detectable(DESIGN, 100_000)


def test_a_small_share_is_dear() -> None:
    """At 5 % the candidate's requests are few: the comparison takes five times as long as with halves."""
    assert 5 < size(Design(0.01, 0.05), 0.002).fixed / size(DESIGN, 0.002).fixed < 6


def test_what_cannot_be_found_is_said() -> None:
    """Hardly any requests show nothing; no difference needs more than there are."""
    assert math.inf == detectable(Design(0.5), 2)
    assert MOST == size(DESIGN, 1e-9).fixed


def test_power_is_what_happens() -> None:
    """Of 4 000 experiments of the planned size as many find the effect as the power says, within five standard errors."""
    design, effect, runs = Design(0.1), 0.03, 4_000
    number = size(design, effect).fixed
    rng = np.random.default_rng(1)
    sides = [rng.binomial(number // 2, rate, runs) / (number // 2) for rate in (0.1, 0.13)]
    error = np.sqrt(sum(side * (1 - side) / (number // 2) for side in sides))
    found = float(np.mean((sides[1] - sides[0]) / error > 1.959964))
    assert abs(power(design, effect, number) - found) < 5 * math.sqrt(0.16 / runs)


@pytest.mark.parametrize(("rate", "other", "weight"), [(0.1, 0.1, 0.5), (0.005, 0.02, 0.05), (0.02, 0.01, 0.25)])
def test_the_interval_holds_at_every_moment(rate: float, other: float, weight: float) -> None:
    """At most 5 % of 400 runs (within five standard errors) are ever wrong in 5 000 requests; of the usual interval, far more."""
    rng = np.random.default_rng(2)
    wrong = usual = 0
    for _ in range(400):
        candidates = rng.random(5_000) < weight
        events = rng.random(5_000) < np.where(candidates, other, rate)
        stops = np.arange(100, 5_001, 50)
        counted = [np.cumsum(each)[stops - 1] for each in (events & ~candidates, ~candidates, events & candidates, candidates)]
        found = [
            interval((int(a), int(b)), (int(c), int(d)), 0.05, 2_000) for a, b, c, d in zip(*counted, strict=True) if d and b
        ]
        wrong += any(not each.low <= other - rate <= each.high for each in found)
        error = np.sqrt(variance(Design(rate, weight), other - rate) / stops)
        usual += bool(
            (np.abs(counted[2] / np.maximum(counted[3], 1) - counted[0] / counted[1] - (other - rate)) > 1.96 * error).any()
        )
    assert wrong <= 0.05 * 400 + 5 * math.sqrt(400 * 0.05 * 0.95)
    assert usual > 0.15 * 400


def test_the_interval_is_the_narrowest_where_it_was_asked() -> None:
    """Tuned for 10 000 requests it is narrower there than if it is tuned for a tenth or ten times of that."""
    there = [half_width(10_000, 0.04, 0.05, narrowest) for narrowest in (1_000, 10_000, 100_000)]
    assert min(there) == there[1]


def test_too_little_says_nothing() -> None:
    """Without five events to be expected on each side every difference is possible."""
    found = interval((30, 6380), (0, 328), 0.05, 10_000)
    assert (-1.0, 1.0) == (found.low, found.high)
    assert 0.01 > interval((300, 63_800), (2, 3_280), 0.05, 60_000).high


def test_anytime_power_is_at_most_the_fixed_one() -> None:
    """At the same number of requests."""
    assert power_anytime(DESIGN, 0.002, 90_000) < power(DESIGN, 0.002, 90_000)
