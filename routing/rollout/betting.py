"""Evidence against a candidate by betting on labels: the gateway flipped the coin itself, so it knows what chance would do.

Each request was sent to the candidate with a known chance, the weight w. If the candidate changes nothing, then what happened
to the request would have happened on the stable side too; so whatever happened (an error, a timeout, a slow answer), it
belongs to the candidate with exactly probability w. That holds through shared outages, bursts and ramps, for they know nothing
of the coin.

So we start with 1 and bet on the coin: "of those that fail, the candidate has more than its share". If the candidate fails r
times as often as the stable side, a failure is the candidate's with q = wr / (wr + 1 - w), and the best bet multiplies our
fortune by q/w where it is and by (1-q)/(1-w) where it is not. If the coin is fair, the expected factor is w * q/w + (1-w) *
(1-q)/(1-w) = 1: the fortune is a martingale, and the chance that it ever reaches 1/alpha, looked at as often as one likes, is
at most alpha (Ville 1939; Shafer 2021, "Testing by betting"; Ramdas and others 2023, "Game-theoretic statistics and safe
anytime-valid inference"). The weight may change at any time, as long as each request counts with the weight that it was drawn
with.

A tolerated worsening. Let the candidate fail with p1 and the stable side with p0, and let p1 <= ratio * (p0 + points) be
tolerated. With X = 1 for a failure, Z = X/(w * ratio) for the candidate's requests and -X/(1-w) for the stable side's has the
mean p1/ratio - p0, which is at most `points` where the worsening is tolerated. So 1 + b(Z - points) has a mean of at most 1
for every bet b >= 0 that keeps it positive, whatever p0 does (Waudby-Smith and Ramdas 2024, "Estimating means of bounded
random variables by betting"). With ratio = 1 and points = 0 and b = q - w these are the factors above; in general b = (q -
t)(w * ratio + 1 - w), where t is the coin at the tolerated ratio. Of latency it is the scale that is tolerated: whoever
measures divides the candidate's seconds by 1 + max_increase, and what was exactly tolerated has the stable side's distribution
then.

Nobody knows r beforehand: the fortune is spread over several ratios, and a part stays in cash. After every look a little is
spread anew, more rarely as time goes by (the fixed share of Herbster and Warmuth 1998, "Tracking the best expert"). It costs a
few tenths in the logarithm, and without it a candidate that was good for a day would have lost every bet's stake, so that its
failing then would go unseen for about another day. Buying and selling between bets at their value keeps the martingale.

Several metrics. Each keeps its own fortune, and it must reach (number of metrics)/alpha: then the chance that any ever does is
at most alpha, by the union bound. The mean of the fortunes is the usual choice, but it is a martingale only where all are told
the same in the same order; here a sticky unit's label is known from one metric while another still bets on it, where means are
not valid (Choe and Ramdas 2024, "Combining evidence across filtrations"). It costs next to nothing: the largest dominates the
mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from math import exp, inf, log, log1p
from statistics import NormalDist
from typing import Literal, NamedTuple

import msgspec

Kind = Literal["share", "latency", "ceiling"]
NOTHING = 0  # the cell of what was looked at and where nothing happened; it says nothing about the label
UNMEASURED = -1  # in place of a cell

RATIOS = (1.5, 2.2, 4.0, 12.0)  # times the tolerated worsening
POINTS = (0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9997)  # of the stable side's latency; cell 1 lies below the first
# What a slower candidate looks like: this share of its requests moves by so many standard deviations of the logarithm.
SLOWER = ((1.0, 0.4), (0.05, 1.8), (0.012, 3.2))
CASH = 0.1
SPREAD = 100_000  # requests after which as much has been spread anew as there was

Labels = tuple[int, int]  # how many were the stable side's and the candidate's
Cell = tuple[int, float]  # what happened, and the chance with which it was the candidate's


class Metric(msgspec.Struct, frozen=True):
    """What is watched. Cells of a `share`: 0 did not happen, 1 happened. Of `latency`: 1 up to len(POINTS) + 1, the slowest.

    Of a `ceiling`, which looks at the candidate alone: 1 did not happen, 2 happened; tolerated is a share of `most`.
    `beside`: it is measured apart from the requests, and says nothing about how many there were.
    """

    name: str
    kind: Kind = "share"
    ratio: float = 1.0  # tolerated is p1 <= ratio * (p0 + points)
    points: float = 0.0
    most: float = 0.0
    beside: bool = False

    @property
    def cells(self) -> int:
        """How many cells there are, NOTHING included."""
        return {"share": 2, "latency": len(POINTS) + 2, "ceiling": 3}[self.kind]

    @property
    def bad(self) -> int:
        """The first cell that people would call bad; of latency, what lies above the stable side's 95 % point."""
        return {"share": 1, "latency": POINTS.index(0.95) + 2, "ceiling": 2}[self.kind]


class Evidence(msgspec.Struct, frozen=True):
    """Of one metric. `fortunes`: the logarithms of what is in cash and on each bet; empty before the first look."""

    fortunes: tuple[float, ...] = ()
    highest: float = 0.0  # logarithm: what the whole fortune has ever been
    looked: Labels = (0, 0)  # requests that the metric was measured on
    happened: Labels = (0, 0)  # to how many of them (of sticky units, to how many units) something bad happened

    @property
    def fortune(self) -> float:
        """The logarithm of the whole fortune; 0 at the start."""
        return _together(self.fortunes) if self.fortunes else 0.0


class Factors(NamedTuple):
    """The logarithms that one cell's requests add to one bet."""

    stable: float
    candidate: float


def share(weight: float, ratio: float) -> float:
    """The candidate's share of the events if each of its requests has `ratio` times as many."""
    return weight * ratio / (weight * ratio + 1 - weight)


@lru_cache(maxsize=1024)
def bets(metric: Metric, weight: float) -> tuple[tuple[Factors, ...], ...]:
    """The factors of each bet in each cell for requests that went to the candidate with the chance `weight`."""
    match metric.kind:
        case "share":
            return tuple(_share(metric, weight, ratio) for ratio in RATIOS)
        case "latency":
            return tuple(_latency(ratios, weight) for ratios in _slower())
        case "ceiling":
            return tuple(_ceiling(metric.most, ratio) for ratio in RATIOS)


def look(metric: Metric, old: Evidence, counted: Mapping[Cell, Labels], looked: Labels) -> Evidence:
    """The evidence after all that was counted since the last look. `looked`: on how many requests the metric was measured."""
    start = _start(metric)
    fortunes = list(old.fortunes)
    if len(fortunes) != len(start):  # the first look, or the bets are another version's: all is laid out anew
        fortunes = [old.fortune + first for first in start]
    for (cell, weight), (stable, candidate) in counted.items():
        if 0 < weight < 1:
            for index, cells in enumerate(bets(metric, weight), 1):
                fortunes[index] += stable * cells[cell].stable + candidate * cells[cell].candidate
    whole = _together(fortunes)
    now = sum(looked)
    return Evidence(
        tuple(_spread(fortunes, start, now / (SPREAD + sum(old.looked) + now))),
        max(old.highest, whole),
        _plus(old.looked, looked),
        _plus(old.happened, _sum(labels for (cell, _), labels in counted.items() if cell >= metric.bad)),
    )


def level(fortunes: Iterable[float]) -> float:
    """The logarithm of what has to reach 1/alpha: the largest of the metrics' fortunes (logarithms), over their number."""
    found = tuple(fortunes)
    return max(found) - log(len(found))


def _share(metric: Metric, weight: float, ratio: float) -> tuple[Factors, ...]:
    scale = weight * metric.ratio + 1 - weight
    stake = scale * (share(weight, ratio * metric.ratio) - share(weight, metric.ratio))
    stake = min(stake, 0.95 / (1 / (1 - weight) + metric.points))  # else one event of the stable side's could take all
    idle = log1p(-stake * metric.points)
    return (
        Factors(idle, idle),
        Factors(
            log1p(-stake * (1 / (1 - weight) + metric.points)),
            log1p(stake * (1 / (weight * metric.ratio) - metric.points)),
        ),
    )


def _latency(ratios: tuple[float, ...], weight: float) -> tuple[Factors, ...]:
    """In a cell in which a slower candidate has `ratio` times as many, q/w = ratio / (w * ratio + 1 - w)."""
    below = [log(weight * ratio + 1 - weight) for ratio in ratios]
    return (Factors(0, 0), *(Factors(-under, log(ratio) - under) for ratio, under in zip(ratios, below, strict=True)))


def _ceiling(most: float, ratio: float) -> tuple[Factors, ...]:
    feared = share(most, ratio)
    return (Factors(0, 0), Factors(0, log((1 - feared) / (1 - most))), Factors(0, log(feared / most)))


@lru_cache(maxsize=1)
def _slower() -> tuple[tuple[float, ...], ...]:
    """For each way of being slower, how many times as often each cell is met. If the log of latency is normal these are exact."""
    ends = [-inf, *(NormalDist().inv_cdf(point) for point in POINTS), inf]

    def mass(low: float, high: float) -> float:
        return NormalDist().cdf(high) - NormalDist().cdf(low)

    pairs = list(pairwise(ends))
    return tuple(
        tuple(1 - part + part * mass(low - moved, high - moved) / mass(low, high) for low, high in pairs)
        for part, moved in SLOWER
    )


def _start(metric: Metric) -> tuple[float, ...]:
    number = len(SLOWER if metric.kind == "latency" else RATIOS)
    return (log(CASH), *(log((1 - CASH) / number),) * number)


def _spread(fortunes: list[float], start: tuple[float, ...], part: float) -> Iterable[float]:
    """This part of the whole is taken from all alike and laid out as at the start."""
    if not part:
        return fortunes
    anew = log(part) + _together(fortunes)
    return (_together((log1p(-part) + have, anew + first)) for have, first in zip(fortunes, start, strict=True))


def _together(logarithms: Iterable[float]) -> float:
    """The logarithm of the sum."""
    found = tuple(logarithms)
    top = max(found)
    return top + log(sum(exp(each - top) for each in found))


def _plus(one: Labels, other: Labels) -> Labels:
    return one[0] + other[0], one[1] + other[1]


def _sum(every: Iterable[Labels]) -> Labels:
    total = (0, 0)
    for each in every:
        total = _plus(total, each)
    return total
