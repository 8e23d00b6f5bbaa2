"""Ends the call when its time is up, whatever the layers below are waiting for."""

from __future__ import annotations

import asyncio

from backends.errors import ErrorKind, InferenceError
from policies.call import Answer, Ask, Call


class DeadlinePolicy:
    """Cancels everything inside at the call's deadline and answers DEADLINE instead. Belongs to one event loop.

    Does what asyncio.timeout_at does, in a third of its 4 µs: on uvloop that looks up loop and task three times a request.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, call: Call, ask: Ask) -> Answer:
        """The answer from below, if it comes in time."""
        loop = self._loop = self._loop or asyncio.get_running_loop()
        if call.deadline.at <= loop.time():
            raise _late()
        task = asyncio.current_task(loop)
        assert task is not None, "policies run in a task"
        expiry = _Expiry(task)
        timer = loop.call_at(call.deadline.at, expiry)
        try:
            return await ask(call)
        except asyncio.CancelledError:
            # Somebody else's cancellation may have come too: then more than ours is pending, and it goes on.
            if expiry.passed and task.cancelling() <= expiry.pending + 1:
                raise _late() from None
            raise
        finally:
            timer.cancel()
            if expiry.passed:
                task.uncancel()


class _Expiry:
    """Cancels a task once; `pending` is how many cancellations it had before the call began."""

    __slots__ = ("_task", "passed", "pending")

    def __init__(self, task: asyncio.Task[object]) -> None:
        self._task = task
        self.pending = task.cancelling()
        self.passed = False

    def __call__(self) -> None:
        self.passed = True
        self._task.cancel()


def _late() -> InferenceError:
    return InferenceError(ErrorKind.DEADLINE, "no answer within the deadline; allow more time or send fewer rows")
