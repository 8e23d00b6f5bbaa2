"""Remembers for a day which request stood where in a rollout, so that what is told of it later can be joined to its side.

Of a request there is one number of 64 bits (its id, owner and attempt, hashed with this process's own secret) and three more, in
sorted arrays: 25 bytes. The latest stand in a dictionary until there are enough for an array. When all is full the oldest go;
what is older than a day counts as expired, and goes when its room is needed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from gateway.experiment.words import Asked

KEPT = 86_400.0  # seconds
SIZE = 8_192  # requests of an array: sorting them takes half a millisecond
MOST = 2_600_000  # requests: 64 MiB
Missing = Literal["unknown", "expired", "duplicate"]


class Stood(NamedTuple):
    """Where a request's unit stood, and the weight that it was drawn with."""

    place: float
    weight: float


class _Block:
    """`told`: of which metrics it was told already, a bit each."""

    def __init__(self, young: dict[int, Stood], told: dict[int, int], last: float) -> None:
        keys = np.fromiter(young, np.int64, len(young))
        order = np.argsort(keys)
        self.keys: npt.NDArray[np.int64] = keys[order]
        self.stood: npt.NDArray[np.float64] = np.array(list(young.values()), np.float64)[order]
        self.told: npt.NDArray[np.uint8] = np.fromiter((told.get(key, 0) for key in young), np.uint8, len(young))[order]
        self.last = last

    def index(self, key: int) -> int | None:
        at = int(np.searchsorted(self.keys, key))
        return at if at < len(self.keys) and self.keys[at] == key else None


class Journal:
    """Of one gateway. Moments in seconds, on any clock that goes on."""

    def __init__(self, most: int = MOST, size: int = SIZE) -> None:
        self._most, self._size = most, size
        self._young: dict[int, Stood] = {}
        self._told: dict[int, int] = {}  # of the young
        self._began = 0.0
        self._blocks: deque[_Block] = deque()

    def __len__(self) -> int:
        return len(self._young) + sum(len(block.keys) for block in self._blocks)

    def note(self, attempt: str, asked: Iterable[Asked], now: float) -> None:
        """These requests were counted in the attempt."""
        young = self._young
        for each in asked:
            if not young:
                self._began = now
            young.setdefault(hash((each.request, each.owner, attempt)), Stood(each.place, each.weight))
            if len(young) >= self._size:
                self._settle(now)
                young = self._young
        if young and now - self._began > KEPT / 100:
            self._settle(now)

    def tell(self, attempt: str, request: tuple[str, str], bit: int, now: float) -> Stood | Missing:
        """Where the request (its id and owner) stood, once for each bit."""
        key = hash((*request, attempt))
        stood = self._young.get(key)
        if stood is not None:
            told = self._told.get(key, 0)
            self._told[key] = told | 1 << bit
            return "duplicate" if told & 1 << bit else stood
        for block in reversed(self._blocks):
            at = block.index(key)
            if at is None:
                continue
            if now - block.last > KEPT:
                return "expired"
            if block.told[at] & 1 << bit:
                return "duplicate"
            block.told[at] |= 1 << bit
            return Stood(*map(float, block.stood[at]))
        return "unknown"

    def _settle(self, now: float) -> None:
        self._blocks.append(_Block(self._young, self._told, now))
        self._young, self._told = {}, {}
        while len(self._blocks) * self._size > self._most:
            self._blocks.popleft()
