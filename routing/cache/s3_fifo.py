"""Keeps the values that are asked for again within a bound of bytes, by three queues instead of an order by use.

S3-FIFO (Yang, Zhang, Qiu, Yue, Vinayak: "FIFO queues are all you need for cache eviction", SOSP 2023). What is new waits in a
small queue of a tenth of the room; what nobody asks for there goes, and only its key is remembered as a ghost; what is asked for
again, or comes back as a ghost, gets into the main queue, where each use (three at most) is one more turn.

    new --not a ghost--> small --used more than once--> main --used--> main again
    new --a ghost------> main  small --else--> ghost    main --unused--> gone

A use is one addition: nothing moves, so that reading costs what a dictionary costs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

V = TypeVar("V")
SMALL = 10  # the small queue has one part in so many
MOST_USES = 3


class _Slot(Generic[V]):
    __slots__ = ("size", "uses", "value")

    def __init__(self, value: V, size: int) -> None:
        self.value = value
        self.size = size
        self.uses = 0


class S3Fifo(Generic[V]):
    """Values by key, at most `room` bytes of them by the sizes that they are put in with."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._small: OrderedDict[bytes, _Slot[V]] = OrderedDict()
        self._main: OrderedDict[bytes, _Slot[V]] = OrderedDict()
        self._ghosts: OrderedDict[bytes, None] = OrderedDict()
        self._small_size = 0
        self.size = 0
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._small) + len(self._main)

    def __iter__(self) -> Iterator[bytes]:
        yield from self._small
        yield from self._main

    def get(self, key: bytes) -> V | None:
        """The value, which is thereby used once more."""
        slot = self._small.get(key) or self._main.get(key)
        if slot is None:
            return None
        if slot.uses < MOST_USES:
            slot.uses += 1
        return slot.value

    def put(self, key: bytes, value: V, size: int) -> bool:
        """Keeps it, in place of what was there; whether there is room for it at all: an eighth may be one value's."""
        slot = self._small.get(key) or self._main.get(key)
        if size > self._room // 8:
            self.remove(key)
            return False
        if slot is not None:
            self.size += size - slot.size
            if key in self._small:
                self._small_size += size - slot.size
            slot.value, slot.size = value, size
        elif key in self._ghosts:
            del self._ghosts[key]
            self._main[key] = _Slot(value, size)
            self.size += size
        else:
            self._small[key] = _Slot(value, size)
            self._small_size += size
            self.size += size
        while self.size > self._room:
            self._evict()
        return True

    def remove(self, key: bytes) -> None:
        """Forgets it; harmless where it is not."""
        slot = self._small.pop(key, None)
        if slot is not None:
            self._small_size -= slot.size
        else:
            slot = self._main.pop(key, None)
        if slot is not None:
            self.size -= slot.size

    def clear(self) -> None:
        """Forgets everything."""
        self._small.clear()
        self._main.clear()
        self._ghosts.clear()
        self._small_size = self.size = 0

    def _evict(self) -> None:
        """Takes the oldest of one queue: out, or where it has earned it into the main queue again."""
        if self._small and (self._small_size > self._room // SMALL or not self._main):
            key, slot = self._small.popitem(last=False)
            self._small_size -= slot.size
            if slot.uses > 1:
                slot.uses = 0
                self._main[key] = slot
                return
            self._ghosts[key] = None
            while len(self._ghosts) > max(1, len(self)):
                self._ghosts.popitem(last=False)
        else:
            key, slot = self._main.popitem(last=False)
            if slot.uses:
                slot.uses -= 1
                self._main[key] = slot
                return
        self.size -= slot.size
        self.evicted += 1
