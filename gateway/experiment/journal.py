"""Remembers for a day which request stood where in a rollout, so that what is told of it later can be joined to its side.

Of a request there is one number of 64 bits (its id, owner and attempt, hashed with this process's own secret) and three more, in
tables with open addressing: 25 bytes a place, six in ten of which are taken, where a dictionary would have 200. When a table is
full another is begun, twice as large up to a bound, and of too many the oldest goes. What is older than a day counts as expired.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable
from typing import Literal, NamedTuple

from gateway.experiment.words import Asked

KEPT = 86_400.0  # seconds
TABLES = 10  # of the largest size: 1.5 million requests, 64 MiB
SMALLEST, LARGEST = 12, 18  # places of a table, as powers of two; the largest is made in 3 ms
FULL = 0.6
Missing = Literal["unknown", "expired", "duplicate"]


class Stood(NamedTuple):
    """Where a request's unit stood, and the weight that it was drawn with."""

    place: float
    weight: float


class _Table:
    """`told`: of which metrics it was told already, a bit each. A key of 0 is an empty place."""

    def __init__(self, bits: int, began: float) -> None:
        size = 1 << bits
        self.keys, self.told = array("q", bytes(8 * size)), bytearray(size)
        self.places, self.weights = array("d", bytes(8 * size)), array("d", bytes(8 * size))
        self.count, self.most = 0, int(FULL * size)
        self.began = self.last = began
        self._mask = size - 1

    def at(self, key: int) -> int:
        """Where the key is, or would be."""
        keys, mask = self.keys, self._mask
        at = key & mask
        while (found := keys[at]) != key and found:
            at = (at + 1) & mask
        return at


class Journal:
    """Of one gateway. Moments in seconds, on any clock that goes on."""

    def __init__(self, tables: int = TABLES, smallest: int = SMALLEST, largest: int = LARGEST) -> None:
        self._most, self._bits, self._largest = tables, smallest, largest
        self._tables: deque[_Table] = deque()  # the youngest first

    def __len__(self) -> int:
        return sum(table.count for table in self._tables)

    def note(self, attempt: str, asked: Iterable[Asked], now: float) -> None:
        """These requests were counted in the attempt. Of an id that was noted lately nothing changes."""
        table = self._young(now)
        for each in asked:
            key = hash((each.request, each.owner, attempt)) or 1
            at = table.at(key)
            if not table.keys[at]:
                table.keys[at], table.places[at], table.weights[at] = key, each.place, each.weight
                table.count += 1
                if table.count >= table.most:
                    table.last = now
                    table = self._young(now)
        table.last = now

    def tell(self, attempt: str, request: tuple[str, str], bit: int, now: float) -> Stood | Missing:
        """Where the request (its id and owner) stood, once for each bit."""
        key = hash((*request, attempt)) or 1
        for table in self._tables:
            at = table.at(key)
            if not table.keys[at]:
                continue
            if now - table.last > KEPT:
                return "expired"
            if table.told[at] & 1 << bit:
                return "duplicate"
            table.told[at] |= 1 << bit
            return Stood(table.places[at], table.weights[at])
        return "unknown"

    def _young(self, now: float) -> _Table:
        """The table for what comes now; one that is full, or old enough to tell a day from more, gets a successor."""
        young = self._tables[0] if self._tables else None
        if young is not None and young.count < young.most and (not young.count or now - young.began < KEPT / 24):
            return young
        if young is not None and young.count >= young.most:
            self._bits = min(self._bits + 1, self._largest)
        self._tables.appendleft(_Table(self._bits, now))
        while len(self._tables) > self._most and self._spare(now):
            self._tables.pop()
        return self._tables[0]

    def _spare(self, now: float) -> bool:
        """Whether the oldest may go: it is older than twice a day, or there is too much."""
        room = sum(table.most for table in self._tables)
        return now - self._tables[-1].last > 2 * KEPT or room > self._most * int(FULL * (1 << self._largest))
