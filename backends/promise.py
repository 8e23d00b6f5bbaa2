"""A future whose waiter goes on in the same turn of the loop in which the result comes, not in the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Callback = Callable[[Any], object]


class Promise(Generic[T]):
    """What asyncio.Future is for one waiter, less a trip through the loop's queue, which costs 2 µs and often a system call.

    Kept in a callback of the loop (a protocol's, a timer's), the waiter has run before `set_result` returns; kept inside a
    task, which must not be interrupted by another, it runs in the next turn. Implements the protocol by which tasks await
    foreign futures (asyncio's source: `_asyncio_future_blocking`, `get_loop`, `add_done_callback`, `cancel`, `result`).
    """

    __slots__ = ("_asyncio_future_blocking", "_callback", "_cancelled", "_context", "_done", "_error", "_loop", "_value")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asyncio_future_blocking = False
        self._callback: Callback | None = None
        self._context: Context | None = None
        self._cancelled = False
        self._error: BaseException | None = None
        self._value: T
        self._done = False

    def __await__(self) -> Generator[Promise[T], None, T]:
        if not self._done:
            self._asyncio_future_blocking = True
            yield self
        return self.result()

    def set_result(self, value: T) -> None:
        """Keeps the promise."""
        self._value = value
        self._done = True
        self._wake()

    def set_exception(self, error: BaseException) -> None:
        """Breaks the promise."""
        self._error = error
        self._done = True
        self._wake()

    def _wake(self) -> None:
        if self._callback is None:
            return
        if asyncio.current_task(self._loop) is not None:
            self._loop.call_soon(self._wake)
            return
        if self._context is None:
            callback, self._callback = self._callback, None
            callback(self)
        else:
            self._context.run(self._taken(), self)  # a task: it keeps the error that ends it, whose frames keep this one's names

    def _taken(self) -> Callback:
        callback, self._callback = self._callback, None
        assert callback is not None, "there is one who waits"
        return callback

    def done(self) -> bool:
        """Whether there is a result, an error or a cancellation."""
        return self._done

    # What a task asks of a future it waits for

    def result(self) -> T:
        """The value, or raises the error or CancelledError."""
        if self._cancelled:
            raise asyncio.CancelledError
        if self._error is not None:
            raise self._error
        return self._value

    def cancel(self, msg: object = None) -> bool:
        """Ends the waiting; the waiter runs in the loop's next turn, since whoever cancels may be a task itself."""
        if self._done:
            return False
        self._cancelled = self._done = True
        self._loop.call_soon(self._wake)
        return True

    def add_done_callback(self, callback: Callback, *, context: Context | None = None) -> None:
        """The one waiter; called with the promise."""
        self._callback, self._context = callback, context
        if self._done:
            self._loop.call_soon(self._wake)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop it belongs to."""
        return self._loop
