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
    """Of one question. `room` is what asking dearer stages may cost in all, at most, and `rows` how many rows may go up to them;
    `settle` hears what was paid, and how many did.
    """

    __slots__ = ("_closed", "_room", "_rows", "_settle", "_under_way", "paid", "raised")

    def __init__(
        self, room: float = math.inf, rows: float = math.inf, settle: Callable[[float, int], None] | None = None
    ) -> None:
        self.paid = 0.0
        self.raised = 0  # rows sent up
        self._room = room
        self._rows = rows
        self._settle = settle
        self._under_way = 0
        self._closed = False

    def allows(self, rows: int, cost: float) -> bool:
        """Whether so many rows may go up, at that cost at most; then the room for it is taken."""
        if self.raised + rows > self._rows or cost > self._room + SLACK * cost:
            return False
        self.raised += rows
        self._room -= cost
        return True

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
