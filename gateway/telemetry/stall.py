"""Tells how long something holds the event loop up, by how late a timer comes that should come every few milliseconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

EVERY = 0.02  # seconds; a stall is seen from the next tick on, so up to this much shorter than it was
# The timer's own grain is a millisecond: uvloop's, and its loop.time() has no finer one, hence time.monotonic.


class StallProbe:
    """Ticks on the running loop until stopped, and says at each tick by how many seconds it is late. Costs 3 µs a tick."""

    def __init__(self, late: Callable[[float], None]) -> None:
        self._late = late
        self._loop = asyncio.get_running_loop()
        self._due = 0.0
        self._timer = self._next()

    def _next(self) -> asyncio.TimerHandle:
        self._due = monotonic() + EVERY
        return self._loop.call_later(EVERY, self._tick)

    def _tick(self) -> None:
        self._late(max(0.0, monotonic() - self._due))
        self._timer = self._next()

    def stop(self) -> None:
        """No tick any more."""
        self._timer.cancel()
