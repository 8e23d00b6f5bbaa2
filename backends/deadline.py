"""A moment after which nobody waits for the answer any more; it is handed down and only ever shrinks."""

from __future__ import annotations

import msgspec

RESERVE = 0.01  # seconds; twice what a deadline may be noticed late (backends.alarms)


class Deadline(msgspec.Struct, frozen=True, gc=False):
    """`at` is a moment on the event loop's monotonic clock, in seconds."""

    at: float

    def remaining(self, now: float) -> float:
        """Seconds left at `now`; never negative."""
        return max(0.0, self.at - now)

    def less(self, reserve: float) -> Deadline:
        """An earlier deadline: `reserve` seconds are kept back for whoever hands it down."""
        return Deadline(self.at - reserve)

    def hop(self, now: float) -> Deadline:
        """What whoever is asked next gets of it: all but the RESERVE, or a tenth where that is less, for the way back."""
        remaining = self.at - now
        return Deadline(self.at - (RESERVE if remaining > 10 * RESERVE else max(0.0, remaining) / 10))

    def within(self, timeout: float, now: float) -> Deadline:
        """The earlier of this deadline and `timeout` seconds from `now`."""
        return Deadline(min(self.at, now + timeout))
