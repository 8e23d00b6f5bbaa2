"""The one place where background work starts: every task has a name, their number is bounded, and the end awaits them all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
"""Starts work under a name, as Spawner.spawn does."""
_log = logging.getLogger(__name__)


async def rounds(do: Callable[[], Awaitable[None]], seconds: float, of: str) -> None:
    """Round after round, so many seconds apart, for ever. A defect in one is logged, and costs no other."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await do()
        except Exception:  # noqa: BLE001 - whatever it is, what is judged or told must go on being so
            _log.exception("a round of %s failed; the next one follows", of)


class Spawner:
    """Owns the process's background tasks. asyncio itself keeps only weak references: a task that nobody holds may vanish."""

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Starts the work. What it raises is logged. Raises RuntimeError past the limit and after `close`."""
        if self._closed or len(self._tasks) >= self._limit:
            work.close()  # else Python warns of a coroutine that was never awaited
            raise RuntimeError(f"no background task '{name}': " + ("closed" if self._closed else f"{self._limit} run already"))
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def close(self) -> None:
        """Cancels every task and returns when the last has ended; a task that swallows its cancellation is waited for."""
        self._closed = True
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("background task '%s' failed", task.get_name(), exc_info=error)
