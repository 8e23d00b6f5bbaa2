"""Answers that their clients have not taken: how much memory they may hold in all, and whose go first when that is too little."""

from __future__ import annotations

import logging
from typing import Protocol

_log = logging.getLogger(__name__)


class Owed(Protocol):
    """A connection with bytes that wait for its client."""

    def unsent(self) -> int:
        """How many, now."""
        ...

    def abandon(self) -> None:
        """Ends it at once."""
        ...


class Backlog:
    """At most `limit` bytes wait; beyond it, who has waited longest is cut off, so that those who read are not refused.

    The one answer that was written last is let be, however large. Envoy does the like with its reset_high_memory_stream.
    """

    __slots__ = ("_limit", "_owed", "_waiting")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._owed: dict[Owed, None] = {}  # in the order of their last answers
        self._waiting = 0  # bytes at most: what was taken since is not taken off until it matters

    def add(self, owed: Owed, size: int) -> None:
        """An answer of `size` bytes was written and is not out yet."""
        self._owed.pop(owed, None)
        self._owed[owed] = None
        self._waiting += size
        if self._waiting > self._limit:
            self._settle()

    def _settle(self) -> None:
        sizes = {owed: size for owed in self._owed if (size := owed.unsent())}
        waiting, cut = sum(sizes.values()), 0
        for owed in list(sizes)[:-1]:
            if waiting <= self._limit:
                break
            waiting -= sizes.pop(owed)
            cut += 1
            owed.abandon()
        self._owed, self._waiting = dict.fromkeys(sizes), waiting
        if cut:
            _log.warning("%d slow readers cut off: more than %d bytes of answers waited to be taken", cut, self._limit)
