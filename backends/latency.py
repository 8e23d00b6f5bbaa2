"""How long an endpoint's latest answers took, as the one quantile that a hedge needs."""

from __future__ import annotations

from collections import deque
from math import ceil

KEPT = 128  # answers
EVERY = 32  # answers between two looks at them: 0.3 µs for each


class Latency:
    """`quantile` seconds were enough for the share `of` the latest answers; None before there are EVERY of them."""

    __slots__ = ("_fresh", "_latest", "_of", "quantile")

    def __init__(self, of: float) -> None:
        self._of = of
        self._latest: deque[float] = deque(maxlen=KEPT)
        self._fresh = 0
        self.quantile: float | None = None

    def took(self, seconds: float) -> None:
        """One more answer."""
        self._latest.append(seconds)
        self._fresh += 1
        if self._fresh == EVERY:
            self._fresh = 0
            self.quantile = sorted(self._latest)[ceil(self._of * len(self._latest)) - 1]
