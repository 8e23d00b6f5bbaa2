"""The fortunes of many runs at once, looked at after every request: what routing.rollout.betting does for one, in arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from routing.rollout import betting
from routing.rollout.betting import Metric

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Fortunes:
    """Of one metric in so many runs; `weights` are all that are met."""

    def __init__(self, metric: Metric, weights: tuple[float, ...], runs: int) -> None:
        self._start = np.exp(betting._start(metric))
        self._all = np.tile(self._start, (runs, 1))
        self._requests = np.zeros(runs)
        # By weight, cell and label: what each bet is multiplied by; cash stays what it is.
        self._factors = np.ones((len(weights), metric.cells, 2, len(self._start)))
        for row, weight in enumerate(weights):
            for bet, cells in enumerate(betting.bets(metric, weight), 1):
                self._factors[row, :, :, bet] = np.exp(np.array(cells))

    def look(self, cells: Ints, candidates: Bools, weights: Ints | int, requests: Ints | int = 1) -> Floats:
        """The whole fortune of each run after one event each, so many requests after the last; `weights` are indices."""
        return self._become(self._factors[weights, cells, candidates.astype(np.int64)], requests)

    def look_once(self, cells: Ints, candidates: Bools) -> Floats:
        """The same after several requests of each run (shape: runs, requests), all of the first weight, with one look."""
        return self._become(self._factors[0, cells, candidates.astype(np.int64)].prod(axis=1), cells.shape[1])

    def _become(self, factors: Floats, requests: Ints | int) -> Floats:
        self._all *= factors
        whole: Floats = self._all.sum(axis=1)
        self._requests += requests
        part = (requests / (betting.SPREAD + self._requests))[:, None]
        self._all = np.minimum(self._all * (1 - part) + part * whole[:, None] * self._start, 1e200)
        return whole
