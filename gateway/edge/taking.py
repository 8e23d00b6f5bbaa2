"""Whether a client takes what it is sent: who stands still, or trickles, holds memory that others need."""

from __future__ import annotations

from gateway.edge.limits import Limits


class Taking:
    """Of one connection, while bytes of its answers wait."""

    __slots__ = ("_since", "_untaken")

    def __init__(self) -> None:
        self._untaken, self._since = 0, 0.0

    def begin(self) -> None:
        """Nothing waits, or what waits has just been written."""
        self._untaken = 0

    def stalls(self, untaken: int, now: float, limits: Limits) -> bool:
        """Whether it has taken less than the body's rate for the time that a write may last; `untaken` bytes are left."""
        lasted = now - self._since
        if untaken <= self._untaken:
            if lasted < limits.write_timeout:
                return False
            if self._untaken - untaken < limits.body_rate * lasted:
                return True
        self._untaken, self._since = untaken, now
        return False
