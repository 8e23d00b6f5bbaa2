"""Counts latencies in buckets that grow by a fixed share, so that any percentile is right to that share."""

from __future__ import annotations

import math

PRECISION = 0.01  # a percentile is at most this share above the true value


class Histogram:
    """Positive numbers, by logarithm: bucket n holds the values in (GROWTH^(n-1), GROWTH^n]. Memory grows with the range only."""

    __slots__ = ("_counts", "_step", "maximum", "total")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._step = math.log1p(PRECISION)
        self.total = 0
        self.maximum = 0.0

    def record(self, value: float) -> None:
        """Count one value; what is not above zero counts as one (a microsecond, here)."""
        bucket = math.ceil(math.log(value) / self._step) if value > 0 else 0
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.total += 1
        self.maximum = max(self.maximum, value)

    def percentile(self, percent: float) -> float:
        """The smallest bucket bound (never above the maximum) that this share of the values does not exceed; 0 when empty."""
        needed = max(1, math.ceil(self.total * percent / 100))
        for bucket in sorted(self._counts):
            needed -= self._counts[bucket]
            if needed <= 0:
                return min(math.exp(bucket * self._step), self.maximum)
        return 0.0
