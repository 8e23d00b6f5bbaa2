"""The core of a stream: its answers, its deadline, and its three endings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, InferenceResponse, Tensors
from policies.call import Answer, Call
from policies.stream import streaming

Make = Callable[..., Call]


@dataclass
class Backend:
    """Gives so many answers, then ends, fails, or hangs."""

    answers: int
    ending: InferenceError | str = ""
    closed: bool = False
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[InferenceRequest] = field(default_factory=list)

    async def stream(self, request: InferenceRequest, deadline: Deadline) -> AsyncIterator[InferenceResponse]:
        self.asked.append(request)
        self.entered.set()
        try:
            for _ in range(self.answers):
                yield InferenceResponse("", "7", "", {}, Tensors(()))
            if self.ending == "hang":
                await asyncio.Event().wait()
            if isinstance(self.ending, InferenceError):
                raise self.ending
        finally:
            self.closed = True


async def read(answers: AsyncIterator[Answer], found: list[Answer]) -> None:
    """Gathers what comes, also if it ends with a failure."""
    async for answer in answers:
        found.append(answer)  # noqa: PERF401 - what came before the failure must be kept


def targeted(make_call: Make, **given: Any) -> Call:
    call = make_call(**given)
    return replace(call, target=call.plan.stages[0].target)


async def test_answers_one_by_one(make_call: Make, observer: Any) -> None:
    """Every answer names who gave it; the question's cost comes with the first, the time since it was asked with each."""
    moments = iter([10.0, 10.5, 11.5, 12.0])
    backend = Backend(2)
    ask = streaming({"triton": backend}, observer, lambda: next(moments))  # type: ignore[dict-item]
    found = [answer async for answer in ask(targeted(make_call, rows=3, stages=(("mid", None),)))]
    assert [(18.0, 0.5), (0.0, 1.5)] == [(answer.cost, answer.backend_seconds) for answer in found]
    share = found[0].shares[0]
    assert ("mid", 3, "b_mid", "7") == (share.variant, share.rows, share.model, share.version)
    assert ["b_mid"] == [request.model for request in backend.asked]
    assert [("asked", "digits", "mid", 3, "ok")] == observer.lines


async def test_no_answer_at_all(make_call: Make, observer: Any) -> None:
    """A stream may end without any."""
    ask = streaming({"triton": Backend(0)}, observer, lambda: 0.0)  # type: ignore[dict-item]
    assert [] == [answer async for answer in ask(targeted(make_call))]
    assert "ok" == observer.lines[0][-1]


async def test_a_failure_ends_it(make_call: Make, observer: Any) -> None:
    """What came before the failure was given; the failure is told by its kind."""
    backend = Backend(1, InferenceError(ErrorKind.BROKEN, "cut"))
    found: list[Answer] = []
    with pytest.raises(InferenceError, match="cut"):
        await read(streaming({"triton": backend}, observer, lambda: 0.0)(targeted(make_call)), found)  # type: ignore[dict-item]
    assert (1, "broken") == (len(found), observer.lines[0][-1])


async def test_a_deadline_ends_it(make_call: Make, observer: Any) -> None:
    """A stream that hangs is closed at its deadline, and only then."""
    backend = Backend(1, "hang")
    at = asyncio.get_running_loop().time() + 0.05
    found: list[Answer] = []
    with pytest.raises(InferenceError) as caught:
        await read(streaming({"triton": backend}, observer, lambda: 0.0)(targeted(make_call, at=at)), found)  # type: ignore[dict-item]
    assert (ErrorKind.DEADLINE, 1, True) == (caught.value.kind, len(found), backend.closed)
    assert "deadline" == observer.lines[0][-1]


async def test_a_target_s_own_timeout_ends_it(make_call: Make, observer: Any) -> None:
    """Though the call had time left."""
    call, clock = targeted(make_call), asyncio.get_running_loop().time
    call = replace(call, target=replace(call.plan.stages[0].target, timeout=0.05))
    found: list[Answer] = []
    with pytest.raises(InferenceError) as caught:
        await read(streaming({"triton": Backend(1, "hang")}, observer, clock)(call), found)  # type: ignore[dict-item]
    assert (ErrorKind.DEADLINE, 1) == (caught.value.kind, len(found))


async def test_left_early_is_abandoned(make_call: Make, observer: Any) -> None:
    """A reader that leaves closes the backend's stream at once, and it counts as abandoned."""
    backend = Backend(3)
    async with aclosing(streaming({"triton": backend}, observer, lambda: 0.0)(targeted(make_call))) as answers:  # type: ignore[dict-item]
        await anext(answers)
    assert (True, "abandoned") == (backend.closed, observer.lines[0][-1])


async def test_cancelled_is_abandoned(make_call: Make, observer: Any) -> None:
    """So does one that is cancelled while it waits."""
    backend = Backend(0, "hang")

    answers = streaming({"triton": backend}, observer, lambda: 0.0)(targeted(make_call))  # type: ignore[dict-item]
    reading = asyncio.create_task(read(answers, []))
    await backend.entered.wait()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert (True, "abandoned") == (backend.closed, observer.lines[0][-1])
