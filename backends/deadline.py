"""A moment after which nobody waits for the answer any more; it is handed down and only ever shrinks."""

from __future__ import annotations

import msgspec


class Deadline(msgspec.Struct, frozen=True, gc=False):
    """`at` is a moment on the event loop's monotonic clock, in seconds."""

    at: float

    def remaining(self, now: float) -> float:
        """Seconds left at `now`; never negative."""
        return max(0.0, self.at - now)

    def less(self, reserve: float) -> Deadline:
        """An earlier deadline: `reserve` seconds are kept back for whoever hands it down."""
        return Deadline(self.at - reserve)

    def within(self, timeout: float, now: float) -> Deadline:
        """The earlier of this deadline and `timeout` seconds from `now`."""
        return Deadline(min(self.at, now + timeout))
