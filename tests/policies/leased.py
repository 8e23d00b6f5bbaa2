"""Processes that share a fake store of leases, and a crowd that asks them, leaves, fails and dies at random."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from hypothesis import strategies as st
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from gateway.spawner import Spawner
from policies.call import Answer, Call
from policies.coalesce import CoalescePolicy


@dataclass(eq=False)
class Held:
    """A lease of the fake store's; `released` is what its holder said at the end."""

    shared: Shared
    key: bytes
    released: list[bool] = field(default_factory=list)

    def release(self, landed: bool) -> None:
        self.released.append(landed)
        if self.shared.held.get(self.key) is self:
            del self.shared.held[self.key]
            if landed:
                self.shared.landed.add(self.key)
        self.shared.change()


@dataclass(eq=False)
class Shared:
    """A store that several processes share: leases, and what the processes have kept. It waits for events, never for time."""

    held: dict[bytes, Held] = field(default_factory=dict)
    landed: set[bytes] = field(default_factory=set)
    kept: dict[bytes, Answer] = field(default_factory=dict)
    away: bool = False
    now: float = 10.0
    given: list[Held] = field(default_factory=list)
    refused: int = 0  # how often somebody was told to ask without a lease
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def change(self) -> None:
        """Whoever waits looks again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def take(self, key: bytes, until: float) -> Held | Literal["landed"] | None:
        while True:
            await asyncio.sleep(0)  # a round trip
            if self.away or self.now >= until or key in self.landed:
                self.refused += 1
                return "landed" if key in self.landed and not self.away else None
            if key not in self.held:
                self.given.append(Held(self, key))
                return self.held.setdefault(key, self.given[-1])
            await self._changed.wait()

    def die(self, key: bytes) -> None:
        """Whoever held it has not renewed it."""
        self.held.pop(key, None)
        self.change()

    async def find(self, key: bytes) -> Answer | None:
        await asyncio.sleep(0)
        return self.kept.get(key)


class Process:
    """A coalescing layer of its own, and above it what a cache does: keep what comes in the turn in which it comes."""

    def __init__(self, shared: Shared, spawner: Spawner) -> None:
        self._shared = shared
        self.policy = CoalescePolicy(spawner.spawn, lambda: shared.now, shared)

    async def ask(self, call: Call, backend: Callable[[Call], object]) -> Answer:
        answer = await self.policy(replace(call, again=lambda: self._shared.find(call.key)), backend)  # type: ignore[arg-type]
        self._shared.kept[call.key] = answer
        return answer


Step = tuple[Literal["ask", "leave", "answer", "fail", "die", "away", "forget", "turn"], int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("ask", "ask", "ask", "leave", "answer", "fail", "die", "away", "forget", "turn")),
        st.integers(0, 2),
        st.integers(0, 1),
    ),
    max_size=40,
)


class Crowd:
    """Three processes and two keys, whatever happens to them. The backend answers which key it was asked about."""

    def __init__(self, question: Call, answer: Answer) -> None:
        self._question, self._answer = question, answer
        self.shared, self.spawner = Shared(), Spawner()
        self.processes = [Process(self.shared, self.spawner) for _ in range(3)]
        self.waiting: list[tuple[bytes, asyncio.Task[Answer]]] = []
        self.pending: list[tuple[bytes, asyncio.Future[Answer]]] = []
        self.asked = 0
        self.deaths = 0

    async def backend(self, call: Call) -> Answer:
        self.asked += 1
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        entry = (call.key, future)
        self.pending.append(entry)
        try:
            return await future
        finally:
            self.pending.remove(entry)

    async def step(self, step: Step) -> None:
        what, which, number = step
        key = b"ab"[number : number + 1]
        if what == "ask":
            asking = self.processes[which].ask(replace(self._question, key=key), self.backend)
            self.waiting.append((key, asyncio.ensure_future(asking)))
        elif what == "leave" and self.waiting:
            self.waiting[which % len(self.waiting)][1].cancel()
        elif what in ("answer", "fail") and self.pending:
            self.end(self.pending[which % len(self.pending)], what == "fail")
        elif what == "die":
            self.deaths += key in self.shared.held
            self.shared.die(key)
        elif what == "away":
            self.shared.away = not self.shared.away
            self.shared.change()
        elif what == "forget":
            self.shared.landed.discard(key)
            self.shared.kept.pop(key, None)
        for _ in range(which + number):  # not always until nothing moves: what is under way is met in the middle
            await asyncio.sleep(0)

    def end(self, pending: tuple[bytes, asyncio.Future[Answer]], fails: bool) -> None:
        key, future = pending
        if future.done():
            return
        if fails:
            future.set_exception(InferenceError(ErrorKind.BROKEN, "broken"))
        else:
            future.set_result(replace(self._answer, escalation=key.decode()))

    async def drain(self) -> None:
        """Everything that is under way is answered."""
        for _ in range(1000):
            if all(task.done() for _, task in self.waiting) and not len(self.spawner):
                return
            for each in tuple(self.pending):
                self.end(each, False)
            self.shared.change()
            await asyncio.sleep(0)
        raise AssertionError("somebody waits for ever")
