"""Ends the call when its time is up, whatever the layers below are waiting for."""

from __future__ import annotations

import asyncio

from backends.alarms import Alarms
from backends.errors import ErrorKind, InferenceError
from policies.call import Answer, Ask, Call


class DeadlinePolicy:
    """Cancels everything inside at the call's deadline and answers DEADLINE instead. Belongs to one event loop.

    Does what asyncio.timeout_at does, for a tenth of its 4 µs: no timer of its own, loop and task looked up once.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop
        self._alarms: Alarms | None = None

    async def __call__(self, call: Call, ask: Ask) -> Answer:
        """The answer from below, if it comes in time."""
        if self._alarms is None:
            self._loop = asyncio.get_running_loop()
            self._alarms = Alarms(self._loop)
        loop, alarms = self._loop, self._alarms
        if call.deadline.at <= loop.time():
            raise _late()
        task = asyncio.current_task(loop)
        assert task is not None, "policies run in a task"
        expiry = _Expiry(task)
        alarms.set(expiry, call.deadline.at)
        try:
            return await ask(call)
        except asyncio.CancelledError:
            # Somebody else's cancellation may have come too: then more than ours is pending, and it goes on.
            if expiry.passed and task.cancelling() <= expiry.pending + 1:
                raise _late() from None
            raise
        finally:
            alarms.clear(expiry)
            if expiry.passed:
                task.uncancel()


class _Expiry:
    """Cancels a task once; `pending` is how many cancellations it had before the call began."""

    __slots__ = ("_task", "passed", "pending")

    def __init__(self, task: asyncio.Task[object]) -> None:
        self._task = task
        self.pending = task.cancelling()
        self.passed = False

    def expire(self) -> None:
        """The deadline has come."""
        self.passed = True
        self._task.cancel()


def _late() -> InferenceError:
    return InferenceError(ErrorKind.DEADLINE, "no answer within the deadline; allow more time or send fewer rows")
