"""Draws that are right or wrong: how often and how soon the mismatch is noticed, looked at after every draw."""

from __future__ import annotations

from math import lgamma, log

import numpy as np

from routing.rollout.mismatch import ALPHA, SURE
from tests.routing.simulations.fortunes import Floats

# The weight, and the share that the candidate gets.
WRONG = {
    "half of the candidate's are lost": (0.05, 0.05 * 0.5 / (0.95 + 0.05 * 0.5)),
    "5 % become 7 %": (0.05, 0.07),
    "50 % become 55 %": (0.5, 0.55),
    "50 % become 48 %": (0.5, 0.48),
}


def bound(weight: float, share: float) -> float:
    """The fewest draws on average that any test could need."""
    return -log(ALPHA) / (share * log(share / weight) + (1 - share) * log((1 - share) / (1 - weight)))


def noticed(weight: float, share: float, runs: int, draws: int, seed: int) -> Floats:
    """After how many draws, in each run; infinite if never."""
    rng = np.random.default_rng(seed)
    grown = np.arange(draws + 1)
    high, low, all_ = (np.vectorize(lgamma)(start + grown) for start in (SURE * weight, SURE * (1 - weight), SURE))
    number = grown[1:]
    found = np.full(runs, np.inf)
    for run in range(runs):
        candidates = np.cumsum(rng.random(draws) < share)
        stable = number - candidates
        evidence = (high[candidates] - high[0]) + (low[stable] - low[0]) - (all_[number] - all_[0])
        evidence -= candidates * log(weight) + stable * log(1 - weight)
        over = evidence >= -log(ALPHA)
        if over.any():
            found[run] = over.argmax() + 1
    return found


def chi_squared(weight: float, runs: int, draws: int, seed: int) -> float:
    """The share of runs in which the usual test at the same alpha is fooled, looked at after every draw from the 100th."""
    rng = np.random.default_rng(seed)
    number = np.arange(1, draws + 1)
    fooled = 0
    for _ in range(runs):
        candidates = np.cumsum(rng.random(draws) < weight)
        z = (candidates - number * weight) / np.sqrt(number * weight * (1 - weight))
        fooled += bool((np.abs(z[99:]) > 3.2905).any())  # both tails of the normal distribution, together a thousandth
    return fooled / runs
