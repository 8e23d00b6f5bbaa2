"""Candidates that change nothing, in bad weather: how many of many runs are taken back, looked at after every request.

Every request has a side, and what happens to it does not depend on that side. Beside the bets stand two methods that people use:
a test of two shares that is looked at after every request, and bets that count every request of a sticky unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from routing.rollout.betting import POINTS, Metric
from tests.routing.simulations.fortunes import Bools, Floats, Fortunes, Ints

ALPHA = 0.01
RAMP = (0.01, 0.05, 0.25, 0.5)
USERS = 200
SHARES = {"error-rate": 0.02, "timeout-rate": 0.005, "disagreement": 0.1}
METRICS = (*(Metric(name) for name in SHARES), Metric("latency", "latency"))


@dataclass(frozen=True)
class Weather:
    """What a request meets, the same on both sides: factors on the shares, and standard deviations on the latency."""

    weight: Callable[[float], float] = lambda _: 0.05  # by how much of the time has passed
    worse: Callable[[float], float] = lambda _: 1.0
    slower: Callable[[float], float] = lambda _: 0.0
    sticky: bool = False
    storm: bool = False  # failures are tried again, up to 60 times by the same client, and nearly all fail again


WEATHERS: Mapping[str, Weather] = {
    "no change": Weather(),
    "shared outage": Weather(worse=lambda t: 25.0 if 0.3 < t < 0.4 else 1.0, slower=lambda t: 2.0 if 0.3 < t < 0.4 else 0.0),
    "ramp 1-5-25-50 %": Weather(weight=lambda t: RAMP[int(t * 4)]),
    "sticky heavy users": Weather(weight=lambda t: RAMP[int(t * 4)], sticky=True),
    "retry storm": Weather(sticky=True, storm=True),
}


class Users:
    """Units that keep their side: their places, their traffic (Zipf), and how unlucky each of them is on either side."""

    def __init__(self, runs: int, rng: np.random.Generator) -> None:
        self._rows = np.arange(runs)
        self._rng = rng
        self.place = rng.random((runs, USERS))
        self.unlucky = rng.gamma(0.3, 1 / 0.3, (runs, USERS))  # a few have nearly all the errors
        self.slow = rng.normal(0, 0.7, (runs, USERS))
        self._traffic = np.cumsum(1 / np.arange(1, USERS + 1)) / np.sum(1 / np.arange(1, USERS + 1))
        self._again = np.zeros(runs, dtype=np.int64)  # how often the last one tries again
        self._last = np.zeros(runs, dtype=np.int64)
        self._known = np.zeros((len(METRICS), runs, USERS), dtype=np.int64)  # by metric: weights below which none is, as index

    def next(self) -> Ints:
        """Who asks now."""
        fresh = np.searchsorted(self._traffic, self._rng.random(len(self._rows)))
        self._last = np.where(self._again > 0, self._last, fresh)
        self._again = np.maximum(self._again - 1, 0)
        return self._last

    def fail(self, failed: Bools) -> None:
        """These try again and again."""
        self._again = np.where(failed & (self._again == 0), self._rng.integers(20, 60, len(failed)), self._again)

    @property
    def storming(self) -> Bools:
        """Which runs are in the middle of it."""
        return self._again > 0

    def coin(self, metric: int, users: Ints, happened: Bools, weight: int) -> tuple[Bools, Ints]:
        """Whether the event counts, and the index of the weight up to which the unit was known: routing.rollout.seen in arrays.

        `weight` counts from 1. What is known of a candidate's unit is the last weight there is.
        """
        known = self._known[metric, self._rows, users]
        counts = happened & (known < weight)
        candidate = self.place[self._rows, users] < RAMP[weight - 1]
        now = np.where(candidate, len(RAMP) + 1, weight)
        self._known[metric, self._rows, users] = np.where(counts, now, known)
        return counts, known


def chances() -> tuple[float, ...]:
    """Of every pair of weights, with 0 as the first: the coin of a unit that was stable at the one and is met at the other."""
    steps = (0.0, *RAMP)
    return tuple(max(0.0, (new - old) / (1 - old)) for old in steps for new in steps)


def false_rollbacks(weather: Weather, runs: int, requests: int, seed: int) -> dict[str, float]:
    """The share of runs that were taken back: by the bets, by bets on every request, by a peeking test of the errors."""
    rng = np.random.default_rng(seed)
    users = Users(runs, rng)
    points = np.quantile(rng.standard_normal((runs, 50)), POINTS, axis=1).T  # of so few answers they are bad ones
    kinds = tuple(min(max(chance, 1e-9), 1 - 1e-9) for chance in chances())
    honest, hasty = ([Fortunes(metric, kinds, runs) for metric in METRICS] for _ in range(2))
    highest = np.ones((2, runs))
    peeking = Peeking(runs)
    rows = np.arange(runs)
    for step in range(requests):
        when = step / requests
        weight = weather.weight(when)
        index = RAMP.index(weight) + 1
        who = users.next()
        candidates = (users.place[rows, who] if weather.sticky else rng.random(runs)) < weight
        unlucky = users.unlucky[rows, who] if weather.sticky else np.ones(runs)
        storming = users.storming if weather.storm else np.zeros(runs, dtype=bool)
        z = rng.standard_normal(runs) + weather.slower(when) + (users.slow[rows, who] if weather.sticky else 0.0)
        for number, metric in enumerate(METRICS):
            if metric.kind == "latency":
                cells = (z[:, None] > points).sum(axis=1) + 1
            else:
                share = np.where(storming, 0.9, np.minimum(SHARES[metric.name] * weather.worse(when) * unlucky, 0.9))
                cells = (rng.random(runs) < share).astype(np.int64)
            if number == 0:
                peeking.look(cells, candidates)
                if weather.storm:
                    users.fail(cells > 0)
            counts, known = (
                users.coin(number, who, cells > 0, index) if weather.sticky else (cells > 0, np.zeros(runs, dtype=np.int64))
            )
            for row, (each, kept, before) in enumerate(((honest, counts, known), (hasty, cells > 0, 0 * known))):
                found = each[number].look(
                    np.where(kept, cells, 0), candidates, np.minimum(before, len(RAMP)) * (len(RAMP) + 1) + index
                )
                highest[row] = np.maximum(highest[row], found / len(METRICS))
    taken = (highest >= 1 / ALPHA).mean(axis=1)
    return {"bets": float(taken[0]), "every request": float(taken[1]), "peeking": float(peeking.taken.mean())}


class Peeking:
    """The test of two shares at alpha, looked at after every request once each side has 50."""

    def __init__(self, runs: int) -> None:
        self._failed = np.zeros((2, runs))
        self._all = np.zeros((2, runs))
        self.taken = np.zeros(runs, dtype=bool)

    def look(self, cells: Ints, candidates: Bools) -> None:
        """One more request of each run."""
        for side, mine in enumerate((~candidates, candidates)):
            self._all[side] += mine
            self._failed[side] += mine & (cells > 0)
        ready = (self._all >= 50).all(axis=0) & (self._failed.sum(axis=0) >= 5)
        shares = self._failed / np.maximum(self._all, 1)
        pooled = self._failed.sum(axis=0) / np.maximum(self._all.sum(axis=0), 1)
        error: Floats = np.sqrt(np.maximum(pooled * (1 - pooled), 1e-12) * (1 / np.maximum(self._all, 1)).sum(axis=0))
        self.taken |= ready & ((shares[1] - shares[0]) / error > 2.326)  # the 99 % point of the normal distribution
