"""Waits for one answer and, when that takes long, for a second one as well: the first to come is taken, the other is let go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

from backends.alarms import Alarms
from backends.errors import InferenceError

T = TypeVar("T")
Late = Callable[[], Coroutine[Any, Any, T] | float | None]
"""Told that the answer takes long: whom to ask as well, or when to say so again (the loop's time), or None: never."""


class Race(Generic[T]):
    """One question's race, in the task that asks it. Until there is a second it costs no task, and one alarm.

    The second runs in a task of its own. If it wins, the first is interrupted as a deadline would (policies.deadline): its
    own task is cancelled, and the cancellation is caught here. `overtaken` is set before that.
    """

    __slots__ = ("_alarms", "_interruptible", "_late", "_pending", "_second", "_task", "overtaken")

    def __init__(self, alarms: Alarms, late: Late[T]) -> None:
        task = asyncio.current_task()
        assert task is not None, "backends are asked in a task"
        self._task = task
        self._pending = task.cancelling()
        self._alarms = alarms
        self._late = late
        self._second: asyncio.Task[T] | None = None
        self._interruptible = True
        self.overtaken = False

    async def run(self, first: Awaitable[T], at: float) -> T:
        """The answer. `at` is when `late` is told; if both fail, the first's failure is raised."""
        self._alarms.set(self, at)
        try:
            return await first
        except asyncio.CancelledError:
            # Somebody else's cancellation may have come too: then more than ours is pending, and it goes on.
            if self._second is not None and self.overtaken and self._task.cancelling() <= self._pending + 1:
                return self._second.result()
            raise
        except InferenceError as error:
            self._interruptible = False
            if self._second is None:
                raise
            try:
                return await self._second
            except InferenceError:
                raise error from None
        finally:
            self._end()

    def expire(self) -> None:
        """The answer takes long."""
        step = self._late()
        if isinstance(step, float):
            self._alarms.set(self, step)
        elif step is not None:
            self._second = asyncio.get_running_loop().create_task(step)
            self._second.add_done_callback(self._answered)

    def _answered(self, second: asyncio.Task[T]) -> None:
        if second.cancelled() or second.exception() is not None:  # asking for the exception marks it as seen
            return
        if self._interruptible and not self.overtaken:
            self.overtaken = True
            self._task.cancel()

    def _end(self) -> None:
        self._interruptible = False
        self._alarms.clear(self)
        if self.overtaken:
            self._task.uncancel()
        if self._second is not None:
            self._second.cancel()
