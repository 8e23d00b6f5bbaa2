"""Who is asked below a cascade in tests: they answer from a table, in their time, or when they are let."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from backends.errors import ErrorKind, InferenceError
from policies.call import Answer, Ask, Call

Make = Callable[..., Call]
Reply = Callable[[Call, dict[str, list[float]]], Answer]
STAGES = (("fast", 0.9), ("mid", 0.8), ("dear", None))


class Asked:
    """An Ask that answers from a table of confidences and notes whom it was asked for, about which rows."""

    def __init__(self, reply: Reply, scores: dict[str, list[float]], failing: dict[str, ErrorKind] | None = None) -> None:
        self.reply, self.scores, self.failing = reply, scores, failing or {}
        self.calls: list[tuple[str, list[int]]] = []

    async def __call__(self, call: Call) -> Answer:
        assert call.target is not None
        rows = call.request.payload.tensors()[0].array().ravel().astype(int).tolist()
        self.calls.append((call.target.variant, rows))
        if call.target.variant in self.failing:
            raise InferenceError(self.failing[call.target.variant], "no")
        answer = self.reply(call, self.scores)
        if call.bill is not None:
            call.bill.asked()
            call.bill.pay(answer.cost)
        return answer


class Clock:
    """Moves when it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Paced(Asked):
    """Each variant takes its seconds on the clock."""

    def __init__(self, reply: Reply, scores: dict[str, list[float]], clock: Clock, seconds: dict[str, float]) -> None:
        super().__init__(reply, scores)
        self.clock, self.seconds = clock, seconds

    async def __call__(self, call: Call) -> Answer:
        assert call.target is not None
        self.clock.now += self.seconds.get(call.target.variant, 0.0)
        if self.clock.now > call.deadline.at:
            raise InferenceError(ErrorKind.DEADLINE, "late")
        return await super().__call__(call)


class Gated:
    """An Ask whose variants answer when they are let; notes who began, and who ended how."""

    def __init__(self, reply: Reply, scores: dict[str, list[float]]) -> None:
        self.reply, self.scores = reply, scores
        self.began, self.gone = asyncio.Event(), asyncio.Event()
        self.gates = {name: asyncio.Event() for name in ("fast", "dear")}
        self.lines: list[str] = []

    async def __call__(self, call: Call) -> Answer:
        assert call.target is not None
        name = call.target.variant
        self.lines.append(f"{name} asked")
        if {"fast asked", "dear asked"} <= set(self.lines):
            self.began.set()
        try:
            await self.gates[name].wait()
        except asyncio.CancelledError:
            self.lines.append(f"{name} cancelled")
            raise
        return self.reply(call, self.scores)


def failing(asked: Gated, **kinds: ErrorKind) -> Ask:
    """These variants fail when both have been asked, the first before the second; the others answer as they do."""

    async def ask(call: Call) -> Answer:
        assert call.target is not None
        name = call.target.variant
        if name not in kinds:
            return await asked(call)
        asked.lines.append(f"{name} asked")
        if {"fast asked", "dear asked"} <= set(asked.lines):
            asked.began.set()
        await asked.began.wait()
        error = InferenceError(kinds[name], f"no {name}")
        error.cost = 1.0
        raise error

    return ask
