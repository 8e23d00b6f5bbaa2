"""Candidates that are worse: how many requests they get until they are taken back, beside the fewest that any test could need.

The bound is log(1/alpha) over the information in one of the candidate's requests, together with the stable side's requests that
come with it: for shares that of the label of an event, for latency that of the label given the whole latency, not only its cell.
Four metrics are watched in each run, so that the evidence of the one that is hit has to be four times as large.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log

import numpy as np

from routing.rollout.betting import POINTS, Metric, share
from tests.routing.simulations.fortunes import Floats, Fortunes

ALPHA = 0.01
WEIGHT = 0.05
WATCHED = 4
BASE = 0.005  # the stable side's error rate
SIGMA = 0.6  # of the logarithm of its latency, which is normal
WARM = 5_000  # answers of the stable side that are known when the rollout starts
LOOK = 20  # requests, one of which is the candidate's
LONGEST = 400_000  # requests in a run


@dataclass(frozen=True)
class Slowdown:
    """A share of the candidate's requests takes `factor` times as long."""

    part: float
    factor: float

    @property
    def moved(self) -> float:
        """In standard deviations of the logarithm."""
        return log(self.factor) / SIGMA


SLOWDOWNS: Mapping[str, Slowdown] = {
    "latency + 30 %": Slowdown(1.0, 1.3),
    "tail: 5 % take 2.92 times as long": Slowdown(0.05, 2.92),
    "tail: 2 % take 4.85 times as long": Slowdown(0.02, 4.85),
    "tail: 1 % take 7.88 times as long": Slowdown(0.01, 7.88),
}


def errors_bound(ratio: float) -> float:
    """The candidate's requests."""
    q = share(WEIGHT, ratio)
    of_an_event = q * log(q / WEIGHT) + (1 - q) * log((1 - q) / (1 - WEIGHT))
    return log(1 / ALPHA) / (of_an_event * BASE * (WEIGHT * ratio + 1 - WEIGHT) / WEIGHT)


def latency_bound(slow: Slowdown) -> float:
    """The candidate's requests; the integral over the logarithm of the latency."""
    z = np.linspace(-9, 14, 40_001)
    stable, moved = np.exp(-z * z / 2), np.exp(-((z - slow.moved) ** 2) / 2)
    stable, moved = stable / stable.sum(), moved / moved.sum()
    candidate = (1 - slow.part) * stable + slow.part * moved
    both = WEIGHT * candidate + (1 - WEIGHT) * stable
    mine, others = (float(np.sum(side * np.log(side / both))) for side in (candidate, stable))
    return log(1 / ALPHA) / (mine + (1 - WEIGHT) / WEIGHT * others)


def errors(ratio: float, runs: int, seed: int, quiet: int = 0) -> Floats:
    """The candidate's requests in each run, after `quiet` requests in which it was as good. One look for each failure."""
    rng = np.random.default_rng(seed)
    fortunes = Fortunes(Metric("error-rate"), (WEIGHT,), runs)
    gone = np.zeros(runs, dtype=np.int64)
    while quiet and gone.min() < quiet:
        gap = rng.geometric(BASE, runs)
        gone += gap
        fortunes.look(np.where(gone < quiet, 1, 0), rng.random(runs) < WEIGHT, 0, gap)
    failing = BASE * (WEIGHT * ratio + 1 - WEIGHT)

    def look() -> tuple[Floats, Floats]:
        gap = rng.geometric(failing, runs)
        return WEIGHT * gap.astype(np.float64), fortunes.look(
            np.ones(runs, dtype=np.int64), rng.random(runs) < share(WEIGHT, ratio), 0, gap
        )

    return _until(look, runs, int(LONGEST * failing))


def taken_back(metric: Metric, candidate: float, runs: int, seed: int) -> float:
    """The share of runs of 100 000 requests in which a candidate with this error rate is taken back; a look for every LOOK."""
    rng = np.random.default_rng(seed)
    fortunes = Fortunes(metric, (WEIGHT,), runs)
    highest = np.ones(runs)
    for _ in range(100_000 // LOOK):
        candidates = rng.random((runs, LOOK)) < WEIGHT
        cells = (rng.random((runs, LOOK)) < np.where(candidates, candidate, BASE)).astype(np.int64)
        highest = np.maximum(highest, fortunes.look_once(cells, candidates))
    return float((highest >= 1 / ALPHA).mean())


def latency(slow: Slowdown, runs: int, seed: int) -> Floats:
    """The candidate's requests in each run, looked at after every LOOK. The points are those of the answers before it started."""
    rng = np.random.default_rng(seed)
    fortunes = Fortunes(Metric("latency", "latency"), (WEIGHT,), runs)
    points = np.array([np.quantile(rng.standard_normal(WARM), POINTS) for _ in range(runs)])

    def look() -> tuple[Floats, Floats]:
        candidates = rng.random((runs, LOOK)) < WEIGHT
        z = rng.standard_normal((runs, LOOK)) + candidates * (rng.random((runs, LOOK)) < slow.part) * slow.moved
        cells = np.ones((runs, LOOK), dtype=np.int64)
        for point in points.T:
            cells += z > point[:, None]
        return candidates.sum(axis=1).astype(np.float64), fortunes.look_once(cells, candidates)

    return _until(look, runs, LONGEST // LOOK)


def _until(look: Callable[[], tuple[Floats, Floats]], runs: int, most: int) -> Floats:
    """Adds up what each look took, in each run up to the one at which the fortune suffices."""
    taken = np.zeros(runs)
    going = np.ones(runs, dtype=bool)
    for _ in range(most):
        cost, found = look()
        taken += cost * going
        going &= found < WATCHED / ALPHA
        if not going.any():
            break
    return taken
