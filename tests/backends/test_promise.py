"""A promise wakes its waiter where the result comes, except inside another task."""

from __future__ import annotations

import asyncio

import pytest

from backends.promise import Promise


async def _at_top(*calls: object) -> None:
    """Runs callables from the loop itself, as a protocol's callbacks are."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def run() -> None:
        for call in calls:
            assert callable(call)
            call()
        done.set_result(None)

    loop.call_soon(run)
    await done


async def test_the_waiter_runs_before_set_result_returns() -> None:
    """Kept at the top of the loop, there is no trip through its queue."""
    promise: Promise[int] = Promise(asyncio.get_running_loop())
    seen: list[object] = []

    async def wait() -> None:
        seen.append(await promise)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    await _at_top(lambda: promise.set_result(7), lambda: seen.append("after"))
    assert [7, "after"] == seen
    await task


async def test_inside_a_task_the_waiter_runs_next() -> None:
    """A task is not interrupted by another."""
    promise: Promise[int] = Promise(asyncio.get_running_loop())
    task = asyncio.create_task(asyncio.wait_for(_awaiting(promise), 5))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    promise.set_result(7)
    assert not task.done()
    assert 7 == await task


async def _awaiting(promise: Promise[int]) -> int:
    return await promise


async def test_kept_before_anybody_waits() -> None:
    """A result or an error that is there already is taken without waiting."""
    loop = asyncio.get_running_loop()
    kept: Promise[int] = Promise(loop)
    kept.set_result(1)
    broken: Promise[int] = Promise(loop)
    broken.set_exception(KeyError("x"))
    assert 1 == await kept
    with pytest.raises(KeyError):
        await broken


async def test_a_cancelled_waiter_leaves() -> None:
    """Cancelling the task ends its waiting; a result that comes later reaches nobody and harms nothing."""
    promise: Promise[int] = Promise(asyncio.get_running_loop())
    task = asyncio.create_task(_awaiting(promise))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert promise.done()
