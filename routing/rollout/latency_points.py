"""Knows how slow the stable side has been lately, so that a request's latency becomes one of a few cells.

The points are those of the past, told before the request that they judge. So they are the same whichever side that request went
to, and the bets on its label stay fair however badly the points are known; a bad estimate costs only power. They are the stable
side's, for a slow candidate would move its own goal. A histogram whose buckets are 1 % wide, halved now and then, so that it
follows the hours of the day.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from math import ceil, exp, log, log1p

from routing.rollout.betting import POINTS, UNMEASURED

STEP = log1p(0.01)
LEAST = 200  # answers before there are points at all
MOST = 100_000  # answers, then each counts half


class LatencyPoints:
    """Of one rollout's stable side. Seconds, more than 0."""

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts = dict(counts or {})
        self._total = sum(self.counts.values())
        self._points: list[float] = []
        self.renew()

    def add(self, seconds: float) -> None:
        """One answer of the stable side; the points move with `renew`."""
        bucket = ceil(log(seconds) / STEP)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self._total += 1

    def renew(self) -> None:
        """The points are those of all answers until now."""
        if self._total >= MOST:
            self.counts = {bucket: count // 2 for bucket, count in self.counts.items() if count > 1}
            self._total = sum(self.counts.values())
        if self._total < LEAST:
            return
        points: list[float] = []
        below = 0
        for bucket in sorted(self.counts):
            below += self.counts[bucket]
            while len(points) < len(POINTS) and below >= self._total * POINTS[len(points)]:
                points.append(exp(bucket * STEP))
        self._points = points

    def cell(self, seconds: float) -> int:
        """From 1, below the first point, to len(POINTS) + 1, above the last; UNMEASURED as long as there are no points."""
        return bisect_left(self._points, seconds) + 1 if self._points else UNMEASURED
