"""Signals in any number and order, and the time between."""

from __future__ import annotations

import asyncio

from gateway.stopping import Stopping


def steps(stopping: Stopping) -> tuple[bool, bool, bool]:
    """What is set."""
    return stopping.asked.is_set(), stopping.draining.is_set(), stopping.cut_off.is_set()


async def test_each_sigterm_is_one_step() -> None:
    """The fourth and later ones change nothing."""
    stopping = Stopping()
    seen = [steps(stopping)]
    for _ in range(4):
        stopping.terminate()
        seen.append(steps(stopping))
    assert [(False, False, False), (True, False, False), (True, True, False), (True, True, True), (True, True, True)] == seen


async def test_sigint_gives_no_notice() -> None:
    """Nor does it take two to end a notice that SIGTERM began."""
    stopping = Stopping()
    stopping.interrupt()
    assert (True, True, False) == steps(stopping)
    stopping.interrupt()
    assert (True, True, True) == steps(stopping)
    other = Stopping()
    other.terminate()
    other.interrupt()
    assert (True, True, False) == steps(other)


async def test_the_notice_ends_by_itself_or_by_a_signal() -> None:
    """What comes after it is the next step."""
    stopping = Stopping()
    due = asyncio.create_task(stopping.due(0.01))
    await asyncio.sleep(0)
    assert not due.done()
    stopping.terminate()
    await due
    stopping.terminate()
    assert (True, True, True) == steps(stopping)
    hurried = Stopping()
    waiting = asyncio.create_task(hurried.due(60))
    hurried.terminate()
    await asyncio.sleep(0)
    hurried.terminate()
    async with asyncio.timeout(5):
        await waiting
    assert (True, True, False) == steps(hurried)
