"""Work beside requests that nobody waits for, within bounds: so much at once, so much waiting, so many bytes, such a cost.

    offered ──> refused (budget, memory, queue-full, busy)
       └─> waiting ──place──> done, and told what it came to

A place that is free takes what waits; what ends by the process's end is `abandoned`.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

import msgspec

from policies.call import Ending
from routing.plan import Target

T = TypeVar("T")
Spawn = Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"]
ROOM = 64 << 20  # bytes of questions that one may hold, waiting or asked


class Runner(Protocol):
    """Where work is done that would hold the loop."""

    async def __call__(self, work: Callable[[], T]) -> T:
        """What the work returns or raises. OSError where too much waits already."""
        ...


class Bounds(Protocol):
    """What the policy says of it. `budget`: cost at once, and cost a second; None: no bound."""

    @property
    def in_flight(self) -> int:
        """At once."""
        ...

    @property
    def queue(self) -> int:
        """Waiting."""
        ...

    @property
    def budget(self) -> tuple[float, float] | None:
        """Cost."""
        ...


class Work(msgspec.Struct, frozen=True, gc=False):
    """One piece: what it holds in bytes, what is done, and who hears what it came to."""

    size: int
    do: Callable[[], Awaitable[str]]
    told: Callable[[str], None]


class Places:
    """Whose bounds these are outlives the policy that asked for the work."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.waiting: deque[Work] = deque()
        self.running = 0
        self.held = 0  # bytes
        self._clock = clock
        self._credit, self._since = math.inf, clock()

    def offer(self, bounds: Bounds, work: Work, spawn: Spawn, name: str) -> str:
        """Begins it, puts it into the queue, or says why not; "" if it is taken. Never raises."""
        refused = self._refused(bounds, work.size)
        if refused:
            return refused
        if self.running >= bounds.in_flight:
            self.waiting.append(work)
        else:
            try:
                spawn(self._run(work), name)
            except RuntimeError:  # the process has too much to do, or ends
                return "busy"
            self.running += 1
        self.held += work.size
        return ""

    def spent(self, cost: float) -> None:
        """So much of the budget."""
        self._credit -= cost

    def _refused(self, bounds: Bounds, size: int) -> str:
        now = self._clock()
        if bounds.budget is not None:
            most, per_second = bounds.budget
            self._credit = min(most, self._credit + (now - self._since) * per_second)
            self._since = now
            if self._credit <= 0:
                return "budget"
        if self.held and self.held + size > ROOM:
            return "memory"
        return "queue-full" if self.running >= bounds.in_flight and len(self.waiting) >= bounds.queue else ""

    async def _run(self, first: Work) -> None:
        """One place: the piece, and then whatever waits."""
        work: Work | None = first
        try:
            while work is not None:
                outcome = "abandoned"
                try:
                    outcome = await work.do()
                finally:
                    self.held -= work.size
                    work.told(outcome)
                work = self.waiting.popleft() if self.waiting else None
        finally:
            self.running -= 1


class Untold:
    """The Observer of work beside requests: it costs their askers nothing and is nobody's answer."""

    def asked(self, model: str, target: Target, ending: Ending) -> None:
        """Not counted."""

    def escalated(self, model: str, source: str, target: str, outcome: str) -> None:
        """Not counted."""

    def fell_back(self, model: str, source: str, target: str) -> None:
        """Not counted."""
