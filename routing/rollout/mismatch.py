"""Notices when the sides do not get the units that their weights say, which makes every comparison of them worthless.

A test as good at any moment (Lindon and Malek 2022, "Anytime-valid inference for multinomial count data"): the likelihood of the
counts under a share drawn from a Beta distribution about the weight, over their likelihood under the weight. If the draws are
right this is a martingale from 1, so that it ever reaches 1/alpha with a chance of at most alpha. Counts of several weights
multiply: each draw belongs to one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import lgamma, log

from routing.rollout.betting import Labels

ALPHA = 0.001
SURE = 80.0  # how many draws the Beta distribution weighs: shares that are wrong by a tenth to a half show the soonest


def mismatch(drawn: Mapping[float, Labels]) -> float:
    """The logarithm of the evidence. `drawn`: by weight, how many units were given the stable side and the candidate."""
    return sum(_one(weight, labels) for weight, labels in drawn.items() if 0 < weight < 1)


def _one(weight: float, labels: Labels) -> float:
    stable, candidate = labels
    high, low = SURE * weight, SURE * (1 - weight)
    return _beta(high + candidate, low + stable) - _beta(high, low) - candidate * log(weight) - stable * log(1 - weight)


def _beta(one: float, other: float) -> float:
    return lgamma(one) + lgamma(other) - lgamma(one + other)
