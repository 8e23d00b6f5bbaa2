"""Keeps answers in this process's memory: the nearest level of a cache, and all of it where nothing is shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from policies.call import Kept
from routing.cache.caching import Purge
from routing.cache.s3_fifo import S3Fifo

MOST_PURGES = 256


class LocalStore:
    """Implements policies.cache.Store with at most `room` bytes."""

    def __init__(self, room: int, clock: Callable[[], float]) -> None:
        self._kept: S3Fifo[tuple[Kept, float]] = S3Fifo(room)
        self._clock = clock
        self._purges: dict[Purge, float] = {}
        self._purged = float("-inf")  # the last time
        self._generation = 0

    @property
    def size(self) -> int:
        """Bytes that are kept now, about."""
        return self._kept.size

    @property
    def generation(self) -> bytes:
        """Counts the purges."""
        return self._generation.to_bytes(8, "little")

    def find(self, keys: Sequence[bytes]) -> Sequence[Kept | None]:
        """What is kept under each key."""
        return [self.nearest(key) for key in keys]

    def nearest(self, key: bytes) -> Kept | None:
        """What is kept under one key: there is nothing further away."""
        found = self._kept.get(key)
        if found is None:
            return None
        kept, ends = found
        if ends <= self._clock() or (kept.asked <= self._purged and self._gone(kept)):
            self._kept.remove(key)
            return None
        return kept

    def same(self, kept: Kept, generation: bytes) -> None:
        """There is nothing further away."""

    def keep(self, several: Sequence[Kept], ends: float) -> bool:
        """Takes them in; what was asked before it was purged is not."""
        room = [not self._gone(kept) and self._kept.put(kept.key, (kept, ends), kept.size) for kept in several]
        return all(room)

    def purge(self, which: Purge, now: float) -> None:
        """Costs the same however much it means: what is gone is noticed when it is asked for."""
        self._generation += 1
        if len(self._purges) >= MOST_PURGES:
            self._kept.clear()
            self._purges = {Purge(): now}  # of questions still in flight, nobody knows any more which were meant
        self._purges[which] = self._purged = now

    def _gone(self, kept: Kept) -> bool:
        return kept.asked <= self._purged and any(kept.asked <= at and meant(which, kept) for which, at in self._purges.items())


def meant(which: Purge, kept: Kept) -> bool:
    """Whether a purge is about this answer; one that several variants gave is about each of them."""
    if (which.model and which.model != kept.response.model) or (which.tag and which.tag != kept.tag):
        return False
    return any(which.variant in ("", share.variant) and which.version in ("", share.version) for share in kept.shares)
