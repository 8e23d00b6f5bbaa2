"""A request's coroutine run as a task would run it, but at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from backends.promise import Promise
from gateway.edge.errand import Errand


async def at_top(call: Callable[[], object], then: Callable[[], object] = lambda: None) -> object:
    """Runs both from the loop itself, as a protocol's callbacks are; what the second returned."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[object] = loop.create_future()

    def run() -> None:
        call()
        done.set_result(then())

    loop.call_soon(run)
    return await done


class Course:
    """An errand, and what became of it."""

    def __init__(self, work: Coroutine[Any, Any, object]) -> None:
        self.ended = asyncio.Event()
        self.result: object = None
        self.error: BaseException | None = None
        self.errand = Errand(asyncio.get_running_loop(), self._run(work), self.ended.set)

    async def _run(self, work: Coroutine[Any, Any, object]) -> None:
        try:
            self.result = await work
        except BaseException as error:
            self.error = error
            if isinstance(error, asyncio.CancelledError):
                raise


async def test_the_first_step_is_taken_at_once() -> None:
    """Work that waits for nothing is over when the step returns."""

    async def work() -> int:
        return 7

    course = Course(work())
    assert (True, 7) == (await at_top(course.errand.step, course.ended.is_set), course.result)


async def test_a_promise_wakes_it_in_the_same_turn() -> None:
    """Kept at the top of the loop, the promise's waiter has run when `set_result` returns."""
    promise: Promise[int] = Promise(asyncio.get_running_loop())

    async def work() -> int:
        return await promise

    course = Course(work())
    await at_top(course.errand.step)
    assert not course.ended.is_set()
    await at_top(lambda: promise.set_result(3))
    assert (True, 3) == (course.ended.is_set(), course.result)


async def test_everything_that_tasks_await_works() -> None:
    """Futures, bare yields, timeouts, groups, threads and gathered tasks, inside each other."""

    async def work() -> list[object]:
        found: list[object] = []
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        async with asyncio.timeout(5):
            found.append(await asyncio.to_thread(lambda: "thread"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        async with asyncio.TaskGroup() as group:
            one = group.create_task(asyncio.sleep(0, "group"))
        found += [one.result(), *(await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2)))]
        with pytest.raises(ExceptionGroup):
            await _group_that_fails()
        found.append(await asyncio.wait_for(asyncio.sleep(0, "waited"), 5))
        return found

    course = Course(work())
    course.errand.step()  # inside this task: put off to the next turn
    async with asyncio.timeout(10):
        await course.ended.wait()
    assert (["thread", "group", 1, 2, "waited"], None) == (course.result, course.error)
    assert 0 == course.errand.cancelling()


async def _fail() -> None:
    raise KeyError("x")


async def _group_that_fails() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_fail())
        await asyncio.Event().wait()


@pytest.mark.parametrize("promised", [True, False])
async def test_cancelling_raises_where_it_waits(promised: bool) -> None:
    """Whatever it waits for; `finally` runs, may wait itself, and the end is told once."""
    loop = asyncio.get_running_loop()
    awaited: Any = Promise(loop) if promised else loop.create_future()
    cleaned: list[str] = []

    async def work() -> None:
        try:
            await awaited
        finally:
            await asyncio.sleep(0)
            cleaned.append("cleaned")

    course = Course(work())
    await at_top(course.errand.step)
    assert course.errand.cancel()
    async with asyncio.timeout(5):
        await course.ended.wait()
    assert (["cleaned"], True) == (cleaned, isinstance(course.error, asyncio.CancelledError))
    assert not course.errand.cancel()


async def test_cancelled_in_the_moment_its_answer_comes() -> None:
    """A cancellation that finds the future done already is raised at the next wait."""
    future = asyncio.get_running_loop().create_future()

    async def work() -> None:
        await future
        await asyncio.sleep(60)

    course = Course(work())
    await at_top(course.errand.step)
    future.set_result(None)
    course.errand.cancel()
    async with asyncio.timeout(5):
        await course.ended.wait()
    assert isinstance(course.error, asyncio.CancelledError)


async def test_it_is_the_current_task_of_its_own_code() -> None:
    """What asks for the current task inside gets the errand, and outside nobody does."""
    seen: list[object] = []

    async def work() -> None:
        seen.append(asyncio.current_task())

    course = Course(work())
    assert await at_top(course.errand.step, asyncio.current_task) is None
    assert [course.errand] == seen
