"""Counts each question against the limits that hold for its principal and model, and refuses what goes beyond them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from routing.buckets import Buckets
from routing.demand import Demand, Verdict


class Meter(Protocol):
    """Who counts: this process alone, or a store that several share."""

    def take(self, demands: Sequence[Demand]) -> Verdict | Awaitable[Verdict]:
        """All of the demands or none. Never raises InferenceError: whoever cannot reach its store decides alone.

        An awaitable that is cancelled holds nothing: what it had taken of `concurrency` it gives back itself.
        """
        ...

    def give_back(self, demands: Sequence[Demand]) -> None:
        """The concurrency of demands that were taken, once, when their request has ended. Never raises, never waits."""
        ...


class LocalMeter:
    """Counts in this process; never waits."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._buckets = Buckets()
        self._clock = clock

    def take(self, demands: Sequence[Demand]) -> Verdict:
        """All of the demands or none."""
        return self._buckets.take(demands, self._clock())

    def give_back(self, demands: Sequence[Demand]) -> None:
        """Their request has ended."""
        self._buckets.give_back(demands)
