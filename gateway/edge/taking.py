"""Whether a client takes what it is sent: who stands still, or trickles, holds memory that others need."""

from __future__ import annotations

import math

from gateway.edge.limits import Limits


class Taking:
    """Of one connection, while bytes of its answers wait."""

    __slots__ = ("_balance", "_since")

    def __init__(self) -> None:
        self._balance, self._since = -math.inf, 0.0

    def begin(self) -> None:
        """Nothing waits, or what waits has just been written."""
        self._balance = -math.inf

    def stalls(self, balance: int, now: float, limits: Limits) -> bool:
        """Whether it has taken less than the body's rate for the time that a write may last.

        `balance` falls by what is taken (gateway.edge.kernel). One that rises, by what was written, begins the time anew.
        """
        lasted = now - self._since
        if balance <= self._balance:
            if lasted < limits.write_timeout:
                return False
            if self._balance - balance < limits.body_rate * lasted:
                return True
        self._balance, self._since = balance, now
        return False
