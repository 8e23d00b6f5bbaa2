"""Many deadlines on one timer."""

from __future__ import annotations

import asyncio

from backends.alarms import TICK, Alarms


class Told:
    """Writes down when its time was up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop, self.at, self.event = loop, 0.0, asyncio.Event()

    def expire(self) -> None:
        self.at = self.loop.time()
        self.event.set()


async def test_rings_at_its_time_and_not_before() -> None:
    """Each is told after its own moment, whatever order they were set in, and a cleared one never."""
    loop = asyncio.get_running_loop()
    alarms, now = Alarms(loop), loop.time()
    late, early, cleared = Told(loop), Told(loop), Told(loop)
    alarms.set(late, now + 6 * TICK)
    alarms.set(early, now + 2 * TICK)
    alarms.set(cleared, now + TICK)
    alarms.clear(cleared)
    await asyncio.wait_for(late.event.wait(), 5)
    assert now + 2 * TICK <= early.at <= late.at
    assert now + 6 * TICK <= late.at
    assert not cleared.event.is_set()


async def test_stops_ticking_when_nobody_waits() -> None:
    """An idle process is not woken; the next alarm starts the clock again."""
    loop = asyncio.get_running_loop()
    alarms = Alarms(loop)
    for _ in range(2):
        told = Told(loop)
        alarms.set(told, loop.time())
        await asyncio.wait_for(told.event.wait(), 5)
        assert not alarms._ticking


async def test_one_that_expires_may_clear_another() -> None:
    """What an expiry takes back is not told in the same tick."""
    loop = asyncio.get_running_loop()
    alarms, other = Alarms(loop), Told(loop)

    class Clearing(Told):
        def expire(self) -> None:
            super().expire()
            alarms.clear(other)

    first = Clearing(loop)
    alarms.set(first, loop.time())
    alarms.set(other, loop.time())
    await asyncio.wait_for(first.event.wait(), 5)
    assert not other.event.is_set()
