"""Notices that a file has changed, by looking at it again and again, and that whoever changed it has finished.

Theory. A look is one stat, which follows links: a file renamed into place, a link swapped or one on the way (as Kubernetes does),
and writing in place all show in device, inode, size or times. What is new must stay as it is for one more look, soon after,
before it counts; where the inode is the old one, somebody writes in place and may pause, so it must stay for IN_PLACE of them.

    as handled  → nothing
    otherwise   → wait until it has stayed the same for as long as it must, then CHANGED, or GONE if there is no file; now handled
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from enum import Enum

from gateway.reload.policy_file import Mark, PolicyFile

LOOK_SECONDS = 0.05
SETTLE_SECONDS = 0.025  # between looks at what has just changed
IN_PLACE = 10  # of these


class Event(Enum):
    """What a look shows."""

    NOTHING = "nothing"
    CHANGED = "changed"
    GONE = "gone"


class Sight:
    """What was seen of one file so far. `handled` is how it looked when it was last read."""

    def __init__(self, handled: Mark | None) -> None:
        self._handled = handled
        self._seen = handled
        self._still = 0

    @property
    def settled(self) -> bool:
        """Whether nothing new is being looked at."""
        return self._seen == self._handled

    def look(self, mark: Mark | None) -> Event:
        """Takes one look in; None stands for no file."""
        if mark != self._seen:
            self._seen, self._still = mark, 0
        elif mark != self._handled:
            self._still += 1
            if self._still >= self._needed(mark):
                self._handled = mark
                return Event.GONE if mark is None else Event.CHANGED
        return Event.NOTHING

    def _needed(self, mark: Mark | None) -> int:
        return IN_PLACE if mark and self._handled and mark[:2] == self._handled[:2] else 1


async def watch(
    file: PolicyFile, sight: Sight, changed: Callable[[], Awaitable[object]], gone: Callable[[OSError], object]
) -> None:
    """Looks for ever. `changed` is waited for before the next look."""
    while True:
        await asyncio.sleep(LOOK_SECONDS if sight.settled else SETTLE_SECONDS)
        mark = await file.mark()
        if isinstance(mark, OSError) and mark.errno == errno.EBUSY:  # earlier looks still hang: nothing was seen
            continue
        event = sight.look(mark if isinstance(mark, Mark) else None)
        if event is Event.CHANGED:
            await changed()
        elif event is Event.GONE and isinstance(mark, OSError):
            gone(mark)
