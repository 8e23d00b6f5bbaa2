"""How many requests a comparison of two rates or means needs, what a given number can show, and what may be said while it runs.

Two sides with n and m requests and event rates p and q. Fixed horizon: look once, at the end. With the normal approximation the
difference has the standard error sqrt(p(1-p)/n + q(1-q)/m), and a test at alpha (two-sided) finds a difference d with the chance
`power` if d is z(1 - alpha/2) + z(power) of them (Fleiss, Levin and Paik 2003, chapter 4). To look more often breaks its promise:
at alpha = 5 % with a look after every request it is sooner or later wrong for sure (Armitage, McPherson and Rowe 1969).

Anytime: a confidence sequence holds at all moments together, so that one may look and stop whenever one likes. Here it is the
normal mixture of Robbins (1970) with an estimated variance, which is right for large numbers at all times together (Waudby-Smith,
Arbour, Sinha, Kennedy and Ramdas 2024, "Time-uniform central limit theory and asymptotic confidence sequences"): of N requests
with the variance v each, the half width is sqrt(2 (N v r + 1) / (N^2 r) * log(sqrt(N v r + 1) / alpha)), with an r that makes it
the narrowest at one N. Numbers are not large while a side has hardly an event: nothing is said before each has as much variance,
at the rate of both together, as five events (simulated: without this it is wrong in 8 % of runs instead of 5 where a rare event
becomes four times as frequent). Of numbers that lie between two bounds the same is asked, where one from bound to bound is one
event: hardly anything is known of the mean of what is nearly always 0. The price of peeking is how many times as many requests
it needs as the fixed horizon for the same difference.

What is counted must be independent: where units are sticky, count units (those with an event, of all), not their requests.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, log, sqrt
from statistics import NormalDist

import msgspec

NORMAL = NormalDist()
MOST = 10**12  # requests; whoever needs more needs another experiment
LEAST = 5  # events that each side would have
Side = tuple[int, int]  # events, and requests


class Design(msgspec.Struct, frozen=True):
    """`rate`: the stable side's, or with a `deviation` (of one value, on either side) its mean. `weight`: the candidate's share
    of all requests (or units: what is drawn is what is counted)."""

    rate: float
    weight: float = 0.5
    alpha: float = 0.05
    power: float = 0.8
    deviation: float | None = None


class Sizes(msgspec.Struct, frozen=True):
    """Requests of both sides together, and how many times the fixed horizon the anytime one is."""

    fixed: int
    anytime: int
    price: float


class Arm(msgspec.Struct, frozen=True):
    """The values of one side, each from 0 to 1: how many, their sum, and that of their squares (of events, both their number)."""

    number: int = 0
    total: float = 0.0
    squares: float = 0.0


class Interval(msgspec.Struct, frozen=True):
    """Of the candidate's rate less the stable side's."""

    estimate: float
    low: float
    high: float


def size(design: Design, effect: float) -> Sizes:
    """How many requests find a difference of rates (`effect`, not 0) with the chance `power`; MOST where none do."""
    fixed = _least(lambda number: power(design, effect, number) >= design.power)
    anytime = _least(lambda number: power_anytime(design, effect, number) >= design.power)
    return Sizes(fixed, anytime, anytime / fixed)


def power(design: Design, effect: float, number: float) -> float:
    """The chance that a test after `number` requests finds a difference of rates."""
    error = sqrt(variance(design, effect) / number)
    return NORMAL.cdf(abs(effect) / error - NORMAL.inv_cdf(1 - design.alpha / 2))


def power_anytime(design: Design, effect: float, number: float) -> float:
    """The chance that the confidence sequence, the narrowest at that number, lies beside 0 there: at least that it ever does."""
    spread = variance(design, effect)
    return NORMAL.cdf((abs(effect) - half_width(number, spread, design.alpha, number)) / sqrt(spread / number))


def detectable(design: Design, number: int, anytime: bool = False) -> float:
    """The smallest increase of the rate that so many requests find with the chance `power`; infinite if none is."""
    chance = power_anytime if anytime else power
    low, high = 0.0, 1 - design.rate if design.deviation is None else 1000 * design.deviation
    if chance(design, high, number) < design.power:
        return inf
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if chance(design, middle, number) >= design.power else (middle, high)
    return high


def variance(design: Design, effect: float) -> float:
    """Of one request's Z about its mean where it is known which side it was drawn for."""
    if design.deviation is not None:
        return float(design.deviation**2 / design.weight + design.deviation**2 / (1 - design.weight))
    other = min(max(design.rate + effect, 0.0), 1.0)
    return other * (1 - other) / design.weight + design.rate * (1 - design.rate) / (1 - design.weight)


def half_width(number: float, spread: float, alpha: float, narrowest: float) -> float:
    """Of the confidence sequence after `number` requests of that variance, which is the narrowest at about `narrowest`."""
    tuned = (-2 * log(alpha) + log(-2 * log(alpha) + 1)) / (narrowest * spread)  # r squared
    grown = number * spread * tuned + 1
    return sqrt(2 * grown / (number**2 * tuned) * log(sqrt(grown) / alpha))


def interval(stable: Side, candidate: Side, alpha: float, narrowest: float) -> Interval:
    """What may be said now, and again at any time. Each side has one request at least; `narrowest`: requests of both together."""
    one, other = (Arm(side[1], side[0], side[0]) for side in (stable, candidate))
    return difference(one, other, alpha, narrowest)


def difference(stable: Arm, candidate: Arm, alpha: float, narrowest: float) -> Interval:
    """The same of means: the candidate's less the stable side's, from -1 to 1."""
    number = stable.number + candidate.number
    estimate = candidate.total / candidate.number - stable.total / stable.number
    mean = (stable.total + candidate.total) / number
    if min(stable.number, candidate.number) * ((stable.squares + candidate.squares) / number - mean**2) < LEAST:
        return Interval(estimate, -1.0, 1.0)
    spread = sum(_uncertain(side) * number / side.number for side in (stable, candidate))
    wide = half_width(number, spread, alpha, narrowest)
    return Interval(estimate, max(estimate - wide, -1.0), min(estimate + wide, 1.0))


def _uncertain(side: Arm) -> float:
    """The variance of one value, with a 0 and a 1 added, so that nothing is certain (Agresti and Caffo 2000)."""
    return (side.squares + 1) / (side.number + 2) - ((side.total + 1) / (side.number + 2)) ** 2


def _least(enough: Callable[[int], bool]) -> int:
    """The smallest number that is enough, up to MOST; more is never less."""
    low, high = 1, 2
    while high < MOST and not enough(high):
        low, high = high, 2 * high
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return min(high, MOST)
