"""Runs what may take long or hang (files, large policies) beside the event loop: neither requests nor the end wait for it.

asyncio's own executor is waited for when the loop ends; a thread that hangs in a file system's call would hold the process for
ever. Here it is a daemon.
"""

from __future__ import annotations

import asyncio
import errno
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
WAITING = 64  # pieces of work that may wait behind one that hangs


class Runner(Protocol):
    """Where work is done."""

    async def __call__(self, work: Callable[[], T]) -> T:
        """What the work returns or raises."""
        ...


async def here(work: Callable[[], T]) -> T:
    """Does it at once, on the loop: for a process that must have no threads."""
    return work()


async def alone(work: Callable[[], T]) -> T:
    """Does it in a thread of its own, which nothing else waits behind: for what is rare and may hang."""
    done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    threading.Thread(target=_settled, args=(work, done), name="alone", daemon=True).start()
    return await done


class Aside:
    """One thread, started with the first piece of work; one piece after the other. Raises OSError when too much waits."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: queue.SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def __call__(self, work: Callable[[], T]) -> T:
        """What the work returns or raises. Who stops waiting leaves the work going on."""
        if self._queue.qsize() >= WAITING:
            raise OSError(errno.EBUSY, f"{self._name}: what was asked for before has not come to an end")
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put((work, done))
        return await done

    def close(self) -> None:
        """Lets the thread end when it has done what it was given; nobody waits for it."""
        self._queue.put(None)

    def _run(self) -> None:
        while (given := self._queue.get()) is not None:
            if not _settled(*given):
                return


def _settled(work: Callable[[], Any], done: asyncio.Future[Any]) -> bool:
    """Does the work in this thread; False when nobody waits any more, because the loop is closed."""
    result, failure = None, None
    try:
        result = work()
    except Exception as error:  # noqa: BLE001 - it is raised where the work was asked for
        failure = error
    with suppress(RuntimeError):
        done.get_loop().call_soon_threadsafe(_settle, done, result, failure)
        return True
    return False


def _settle(done: asyncio.Future[Any], result: Any, failure: Exception | None) -> None:
    if done.done():  # whoever asked has left
        return
    if failure is None:
        done.set_result(result)
    else:
        done.set_exception(failure)
