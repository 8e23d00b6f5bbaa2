"""Runs one request's coroutine as a task would, but at once and without trips through the loop's queue."""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine
from typing import Any, cast


class Errand:
    """A task that takes its first step when it is made, and each later one in the same turn in which it can.

    Inside another task, which it must not interrupt, a step is put off to the loop's next turn. To the code inside it is the
    current task: what asyncio.timeout, TaskGroup and the deadline's policy ask of a task is here (Python documentation,
    "Extending": _enter_task, _leave_task). `ended` is called once, after the last step. The coroutine keeps its exceptions to
    itself. asyncio's own eager tasks (Python 3.12) save the first trip only.
    """

    __slots__ = ("_awaited", "_cancels", "_coroutine", "_due", "_ended", "_loop", "_over")

    def __init__(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None], ended: Callable[[], None]) -> None:
        self._loop = loop
        self._coroutine = coroutine
        self._ended = ended
        self._awaited: asyncio.Future[Any] | None = None
        self._cancels = 0
        self._due = False  # a cancellation that the coroutine has not been told of
        self._over = False

    def step(self, _: object = None) -> None:
        """Runs until the coroutine must wait again."""
        loop, task, due = self._loop, cast("asyncio.Task[Any]", self), self._due
        if asyncio.current_task(loop) is not None:
            loop.call_soon(self.step)
            return
        self._awaited = None
        self._due = False
        awaited: Any = None
        _enter_task(loop, task)
        try:
            awaited = self._coroutine.throw(asyncio.CancelledError) if due else self._coroutine.send(None)
        except (StopIteration, asyncio.CancelledError):
            self._over = True
        finally:
            _leave_task(loop, task)
        if self._over:
            self._ended()
        elif awaited is None:  # a bare yield, as in asyncio.sleep(0)
            loop.call_soon(self.step)
        else:
            awaited._asyncio_future_blocking = False  # noqa: SLF001  the protocol of futures, which has no public name
            self._awaited = awaited
            awaited.add_done_callback(self.step)
            if self._due and awaited.cancel():
                self._due = False

    def cancel(self, msg: object = None) -> bool:
        """As asyncio.Task.cancel: CancelledError is raised where the coroutine waits."""
        if self._over:
            return False
        self._cancels += 1
        if self._awaited is None or not self._awaited.cancel():
            self._due = True
        return True

    def done(self) -> bool:
        """As asyncio.Task.done."""
        return self._over

    def cancelling(self) -> int:
        """As asyncio.Task.cancelling."""
        return self._cancels

    def uncancel(self) -> int:
        """As asyncio.Task.uncancel."""
        self._cancels = max(0, self._cancels - 1)
        return self._cancels
