"""Background tasks: named, bounded, logged when they fail, and gone when the spawner is closed."""

from __future__ import annotations

import asyncio
import logging

import pytest

from gateway.spawner import Spawner, rounds


async def test_work_runs_under_its_name_and_is_forgotten_at_its_end() -> None:
    """A task has the name it was given, and the spawner lets go of it when it is done."""
    spawner, names = Spawner(), list[str]()

    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        names.append(task.get_name())

    await spawner.spawn(work(), "count sheep")
    assert ["count sheep"] == names
    assert 0 == len(spawner)


async def test_close_cancels_and_awaits_every_task() -> None:
    """When close returns, every task has run its own clean-up to the end."""
    spawner, ended = Spawner(), list[int]()
    started = asyncio.Semaphore(0)

    async def work(number: int) -> None:
        try:
            started.release()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(number)

    for number in range(3):
        spawner.spawn(work(number), f"work {number}")
    for _ in range(3):
        await started.acquire()
    await spawner.close()
    assert [0, 1, 2] == sorted(ended)
    assert 0 == len(spawner)


async def test_failure_is_logged_with_the_tasks_name(caplog: pytest.LogCaptureFixture) -> None:
    """An exception that nobody awaits is written to the log, not lost."""
    spawner = Spawner()

    async def work() -> None:
        raise OSError("the disk is on fire")

    with caplog.at_level(logging.ERROR):
        task = spawner.spawn(work(), "keep warm")
        await asyncio.wait([task])
        await asyncio.sleep(0)
    assert ["background task 'keep warm' failed"] == [record.getMessage() for record in caplog.records]
    assert "the disk is on fire" in caplog.text


async def test_cancelled_task_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """A task that is cancelled ends silently."""
    spawner = Spawner()
    spawner.spawn(asyncio.Event().wait(), "wait")
    await asyncio.sleep(0)
    await spawner.close()
    assert [] == caplog.records


async def test_limit_refuses_and_recovers() -> None:
    """Past the limit work is refused, without a coroutine left over; when one has ended there is room again."""
    spawner, gate = Spawner(limit=1), asyncio.Event()

    async def work() -> None:
        await gate.wait()

    first = spawner.spawn(work(), "first")
    with pytest.raises(RuntimeError, match="'second': 1 run already"):
        spawner.spawn(work(), "second")
    gate.set()
    await first
    await spawner.spawn(work(), "third")


async def test_closed_spawner_takes_nothing_more() -> None:
    """After close, work is refused: nobody would await it."""
    spawner = Spawner()
    await spawner.close()

    async def work() -> None: ...

    with pytest.raises(RuntimeError, match="closed"):
        spawner.spawn(work(), "late")


async def test_a_defect_in_a_round_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, with what the rounds are of."""
    done = list[int]()

    async def do() -> None:
        done.append(len(done))
        if len(done) == 1:
            raise ValueError("nobody thought of that")
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await rounds(do, 0.0, "the sheep")
    assert [0, 1] == done
    assert "a round of the sheep failed" in caplog.text
    assert "nobody thought of that" in caplog.text
