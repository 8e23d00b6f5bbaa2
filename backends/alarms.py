"""One timer for many deadlines: a timer of the loop for each request costs 2 to 3 µs, an entry in a dictionary 0.1."""

from __future__ import annotations

import asyncio
from typing import Protocol

TICK = 0.005  # seconds; how late an alarm may come


class Expiring(Protocol):
    """Whoever wants to be told that its time is up; at most once for each `set`."""

    def expire(self) -> None: ...


class Alarms:
    """Deadlines on one event loop, looked through every TICK as long as there are any.

    No `loop`: the one that runs when there are any. It is asked for then, so that nobody who has alarms need remember a loop.
    """

    __slots__ = ("_at", "_loop", "_ticking")

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = loop
        self._at: dict[Expiring, float] = {}
        self._ticking = False

    def set(self, who: Expiring, at: float) -> None:
        """Tells `who` at the loop's time `at` or within a TICK after it."""
        self._at[who] = at
        if not self._ticking:
            self._ticking = True
            self._running().call_later(TICK, self._tick)

    def clear(self, who: Expiring) -> None:
        """Tells nothing after all; harmless when it has been told."""
        self._at.pop(who, None)

    def _running(self) -> asyncio.AbstractEventLoop:
        return self._loop or asyncio.get_running_loop()

    def _tick(self) -> None:
        loop = self._running()
        now = loop.time()
        for who in [who for who, at in self._at.items() if at <= now]:
            if self._at.pop(who, None) is not None:  # one that expires may clear another
                who.expire()
        self._ticking = bool(self._at)
        if self._ticking:
            loop.call_later(TICK, self._tick)
