"""What one question has cost so far, and what it may cost: reserved before anybody is asked, settled when nobody is any more.

    open --asked--> open, one more ask under way
    open --paid---> open, one less; what it has cost is on the bill
    open --closed by whose question it is--> closing --the last ask paid--> settled, once

Who asks for it may leave earlier than the asks that were begun for it: those belong to the bill all the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from routing.budgets import SLACK


class Bill:
    """Of one question. It may cost so much as was `granted`, of which `first` is held for its first stage, and so many `rows` may
    go up; `settle` hears what was paid, and how many did.
    """

    __slots__ = ("_closed", "_granted", "_held", "_rows", "_settle", "_under_way", "paid", "raised")

    def __init__(
        self,
        granted: float = math.inf,
        first: float = 0.0,
        rows: float = math.inf,
        settle: Callable[[float, int], None] | None = None,
    ) -> None:
        self.paid = 0.0
        self.raised = 0  # rows sent up
        self._granted = granted
        self._held = first
        self._rows = rows
        self._settle = settle
        self._under_way = 0
        self._closed = False

    def allows(self, rows: int, cost: float) -> bool:
        """Whether so many rows may go up, at that cost at most; then as much is held for it."""
        if self.raised + rows > self._rows or cost > self._granted - self.paid - self._held + SLACK * cost:
            return False
        self.raised += rows
        self._held += cost
        return True

    def idle(self) -> None:
        """Nobody is being asked: for whom something was held has been paid."""
        self._held = 0.0

    def asked(self) -> None:
        """Somebody is asked for it, or waits for who is."""
        self._under_way += 1

    def pay(self, cost: float) -> None:
        """That has ended, and cost so much."""
        self.paid += cost
        self._under_way -= 1
        self._close()

    def close(self) -> None:
        """The question has ended."""
        self._closed = True
        self._close()

    def _close(self) -> None:
        if self._closed and not self._under_way and self._settle is not None:
            settle, self._settle = self._settle, None
            settle(self.paid, self.raised)
