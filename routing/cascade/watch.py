"""Watches whether what a cascade keeps is answered as the dearest model would: the alarm, and the estimate with its interval.

A random share of the kept rows is asked of the dearest model as well. Each audited request says x, the share of its audited
rows that came out otherwise, between 0 and 1. It is one observation however many rows it has, because rows of one request are
often wrong together. As every kept row has the same chance to be drawn, x is on average the rate of kept and different rows
(where a request seldom has two drawn, exactly the rate over rows; where nearly all are drawn, the rate over requests).

The alarm. Promised is that x is `most` (1 % for a promise of 99 %) on average at most, whatever was before. For a bet of r > 1
let

    e = 1 + b (x - most),   b = (r - 1) / (1 - most),

so that e is, for x of 0 and 1, the likelihood ratio of the rate r * most against `most`. It is never negative, and its mean is
1 at most under the promise (betting on bounded means: Waudby-Smith and Ramdas 2024). A product of such factors is a
supermartingale, but one that has been right for months has lost nearly everything, and a drift that begins then is found only
when all of that has been won back. So a new unit is put on the table before every observation:

    R = (R + 1) e,   alarm when the mean of R over the bets reaches 10 000.

That is the Shiryaev-Roberts procedure (Shiryaev 1963, Roberts 1966) and, as it uses nothing but E[e] <= 1, the e-detector of
Shin, Ramdas and Rinaldo 2023 ("E-detectors: a nonparametric framework for sequential change detection"). What it promises
follows in a line: R - n is a supermartingale, so at an alarm, before which n units were put in, E[n] >= E[R] >= 10 000. Started
anew after each alarm there is on average at most one false alarm in 10 000 audited requests, from any moment on, for any rate
up to the promise that may change as it likes (not only for independent rows); below the promise there are far fewer. R never
falls below what the last few observations are worth, so how long it was good before hardly counts.

How soon. Lorden 1971: with so few false alarms nothing finds a drift to q much sooner than log(10 000) / KL(q, most), here less
a constant that is large for small drifts; Shiryaev-Roberts reaches that to within a constant (Pollak 1985). Nobody knows q: the
unit is spread over bets of 2, 4 and 12 times the promised rate. tests/routing/simulations/drift.py has the figures, beside what
people use instead (a test on a window, a moving rate, a martingale that is not renewed).

The estimate is the mean of x with a confidence sequence, which may be read at any time: Robbins' Beta(1/2, 1/2) mixture of
likelihood ratios, which for x between 0 and 1 is a supermartingale as well, since r^x s^(1-x) <= r x + s (1 - x). `recent` is
the same since the drift began, if there is one: since the sum of log e of the middle bet was last at its lowest (Page 1954).
"""

from __future__ import annotations

from collections.abc import Iterable
from math import log

import msgspec

from routing.shadow.excess import Interval, share

RATIOS = (2.0, 4.0, 12.0)  # times the promised rate
WEIGHTS = (0.3, 0.5, 0.2)
REACHED = 10_000.0  # audited requests from one false alarm to the next, at least, on average
MOST = 1e100  # of evidence: after the alarm it grows on
ALPHA = 0.05  # of the intervals

Seen = tuple[int, int]
"""Of one audited request: how many of its audited rows came out otherwise, and how many there were."""


class Recent(msgspec.Struct, frozen=True):
    """Audited requests since the last drift may have begun: how many, the sum of their shares, and the logarithm of the bet."""

    requests: int = 0
    wrong: float = 0.0
    won: float = 0.0


class Watch(msgspec.Struct, frozen=True):
    """What is known of one cascade. `wrong` is the sum over requests of the share of rows that came out otherwise; `different`
    counts those rows; `evidence` is R by bet; `alarm` the number of the audited request that made it reach, 0 before."""

    requests: int = 0
    rows: int = 0
    different: int = 0
    wrong: float = 0.0
    evidence: tuple[float, ...] = (0.0,) * len(RATIOS)
    recent: Recent = Recent()
    alarm: int = 0


def observe(watch: Watch, most: float, seen: Iterable[Seen]) -> Watch:
    """The same after these audited requests, in their order. `most`: 1 less the promise, between 0 and 1 exclusively."""
    requests, rows, different, wrong = watch.requests, watch.rows, watch.different, watch.wrong
    evidence, recent, alarm = list(watch.evidence), watch.recent, watch.alarm
    slopes = stakes(most)
    for bad, of in seen:
        part = bad / of
        requests, rows, different, wrong = requests + 1, rows + of, different + bad, wrong + part
        factors = [1 + slope * (part - most) for slope in slopes]
        evidence = [min(MOST, (have + 1) * factor) for have, factor in zip(evidence, factors, strict=True)]
        won = recent.won + log(factors[1])
        recent = Recent(recent.requests + 1, recent.wrong + part, won) if won > 0 else Recent()
        if not alarm and level(evidence) >= REACHED:
            alarm = requests
    return Watch(requests, rows, different, wrong, tuple(evidence), recent, alarm)


def stakes(most: float) -> tuple[float, ...]:
    """b of each bet."""
    return tuple((ratio - 1) / (1 - most) for ratio in _ratios(most))


def level(evidence: Iterable[float]) -> float:
    """What has to reach REACHED."""
    return sum(weight * have for weight, have in zip(WEIGHTS, evidence, strict=True))


def rate(watch: Watch) -> Interval:
    """How often a kept row is different, with an interval that holds at all times together with 1 - ALPHA."""
    return share(watch.wrong, watch.requests, ALPHA)


def recently(watch: Watch) -> float:
    """The same since the drift began, if there is one, else since things last looked worse than promised; 0 if they do not."""
    return watch.recent.wrong / watch.recent.requests if watch.recent.requests else 0.0


def _ratios(most: float) -> tuple[float, ...]:
    """Of a promise so weak that 12 times its rate is no rate, the bets lie between it and 1."""
    return tuple(min(ratio, 1 + (1 / most - 1) * place) for ratio, place in zip(RATIOS, (0.25, 0.5, 0.9), strict=True))
