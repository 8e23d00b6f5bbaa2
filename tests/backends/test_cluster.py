"""Several endpoints as one backend."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from time import monotonic
from typing import Any

import pytest

from backends.balance import Balance
from backends.cluster import DESCRIPTIONS, Cluster
from backends.deadline import Deadline
from backends.endpoint import Endpoint
from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, InferenceResponse, Tensors
from backends.rules import Rules

REQUEST = InferenceRequest("m", "", "", {}, (), (), Tensors(()))
LATER = Deadline(1e12)
GONE = InferenceError(ErrorKind.UNAVAILABLE, "refused", retryable=True)
SICK = InferenceError(ErrorKind.BROKEN, "sick")


class One:
    """An endpoint's backend that answers with its own name, or fails, or waits."""

    def __init__(self, name: str, failure: InferenceError | None = None, gate: asyncio.Event | None = None) -> None:
        self.name, self.failure, self.gate, self.asked = name, failure, gate, 0

    async def infer(self, request: InferenceRequest, deadline: Deadline) -> InferenceResponse:
        self.asked += 1
        if self.gate:
            await self.gate.wait()
        if self.failure:
            raise self.failure
        return InferenceResponse(self.name, "", "", {}, Tensors(()))

    async def stream(self, request: InferenceRequest, deadline: Deadline) -> AsyncGenerator[InferenceResponse, None]:
        yield await self.infer(request, deadline)
        yield await self.infer(request, deadline)

    async def ready(self, model: str, version: str, deadline: Deadline) -> bool:
        if self.failure:
            raise self.failure
        return True

    async def describe(self, what: str, model: str, version: str, deadline: Deadline) -> dict[str, Any]:
        if self.failure:
            raise self.failure
        return {"name": self.name}

    async def close(self) -> None:
        self.asked = -1


def cluster(*backends: One, kind: str = "round-robin", room: int = 8, told: list[tuple[str, str, str]] | None = None) -> Cluster:
    endpoints = [Endpoint(one.name, one) for one in backends]
    return Cluster(
        "c", endpoints, Balance(kind, lambda: 0.0), Rules(room), lambda *sent: told.append(sent) if told is not None else None
    )


async def test_round_robin_takes_turns() -> None:
    """Three endpoints share nine questions evenly."""
    found = cluster(One("a"), One("b"), One("c"))
    answers = Counter([(await found.infer(REQUEST, LATER)).model for _ in range(9)])
    assert answers == {"a": 3, "b": 3, "c": 3}


async def test_least_request_avoids_the_busy_one() -> None:
    """Of two taken at random the less busy is asked."""
    gate = asyncio.Event()
    slow, quick = One("slow", gate=gate), One("quick")
    found = cluster(slow, quick, kind="least-request")
    waiting = asyncio.create_task(found.infer(REQUEST, LATER))
    await asyncio.sleep(0)
    assert [(await found.infer(REQUEST, LATER)).model for _ in range(4)] == ["quick"] * 4
    gate.set()
    assert (await waiting).model == "slow"


async def test_an_unreachable_endpoint_is_passed_over() -> None:
    """Where nothing was asked, asking elsewhere is safe: no client sees the dead endpoint."""
    found = cluster(One("dead", GONE), One("b"))
    assert {(await found.infer(REQUEST, LATER)).model for _ in range(4)} == {"b"}
    assert (await found.describe("metadata", "m", "", LATER))["name"] == "b"
    assert await found.ready("m", "", LATER)


async def test_a_sick_endpoint_is_not_asked_around() -> None:
    """An endpoint that took the question and broke may have done the work: no second one is asked."""
    sick, other = One("sick", SICK), One("b")
    with pytest.raises(InferenceError, match="sick"):
        await cluster(sick, other).infer(REQUEST, LATER)
    assert other.asked == 0


async def test_a_model_is_left_alone_where_every_endpoint_is_shut() -> None:
    """One that takes questions about it is enough."""
    found = cluster(One("a", SICK), One("b", SICK))
    shut = []
    for _ in range(2 * found.endpoints[0].ejection.failures):
        shut.append(found.shut("m", ""))
        with pytest.raises(InferenceError):
            await found.infer(REQUEST, LATER)
    assert {False} == set(shut)
    assert (True, False) == (found.shut("m", ""), found.shut("other", ""))


async def test_all_gone() -> None:
    """When no endpoint can be reached the first one's failure is the answer."""
    with pytest.raises(InferenceError) as caught:
        await cluster(One("a", GONE), One("b", GONE)).infer(REQUEST, LATER)
    assert caught.value.kind is ErrorKind.UNAVAILABLE


async def test_in_flight_is_bounded_and_given_back() -> None:
    """Past the bound a question waits a little and is refused; ended, failed and cancelled ones make room."""
    gate = asyncio.Event()
    found = cluster(One("a", gate=gate), room=2)
    tasks = [asyncio.create_task(found.infer(REQUEST, LATER)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(InferenceError) as caught:
        await found.infer(REQUEST, Deadline(monotonic() + 0.05))
    assert ("max-in-flight", ErrorKind.OVERLOADED, 3.0) == (caught.value.reason, caught.value.kind, caught.value.retry_after)
    tasks[0].cancel()
    await asyncio.gather(tasks[0], return_exceptions=True)
    assert found.in_flight == 1
    gate.set()
    await tasks[1]
    assert (found.in_flight, found.endpoints[0].in_flight) == (0, 0)


async def test_who_leaves_the_queue_is_told_of() -> None:
    """Once, and neither who was refused nor who was in flight."""
    gate, left = asyncio.Event(), list[str]()
    found = cluster(One("a", gate=gate), room=1)
    found.places.left = lambda: left.append("queue")
    tasks = [asyncio.create_task(found.infer(REQUEST, LATER)) for _ in range(3)]
    await asyncio.sleep(0)
    for task in tasks[:2]:
        task.cancel()
    await asyncio.gather(*tasks[:2], return_exceptions=True)
    gate.set()
    await tasks[2]
    with pytest.raises(InferenceError):
        await found.infer(REQUEST, Deadline(monotonic() - 1))
    assert (["queue"], 0) == (left, found.in_flight)


async def test_stream_moves_on_only_before_its_first_answer() -> None:
    """A dead endpoint is passed over, and a stream left early gives its place back."""
    found = cluster(One("dead", GONE), One("b"))
    assert [response.model async for response in found.stream(REQUEST, LATER)] == ["b", "b"]
    stream = found.stream(REQUEST, LATER)
    await anext(stream)
    await stream.aclose()
    assert found.in_flight == 0


async def test_every_attempt_is_told() -> None:
    """Whoever counts hears of the unreachable endpoint and of the one that answered."""
    told: list[tuple[str, str, str]] = []
    await cluster(One("dead", GONE), One("b"), told=told).infer(REQUEST, LATER)
    assert told == [("c", "dead", "unavailable"), ("c", "b", "ok")]


class Slow(One):
    """Describes nothing until it is let go, and counts who waits for it."""

    waiting = most = 0

    async def describe(self, what: str, model: str, version: str, deadline: Deadline) -> dict[str, Any]:
        assert self.gate is not None
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        try:
            await self.gate.wait()
        finally:
            self.waiting -= 1
        return {"name": self.name}


async def test_descriptions_are_bounded_at_each_cluster() -> None:
    """A question about many models asks a few at once; all are answered, and none counts as inference."""
    slow = Slow("a", gate=asyncio.Event())
    found = cluster(slow, room=1)
    asks = [asyncio.create_task(found.describe("metadata", str(n), "", LATER)) for n in range(3 * DESCRIPTIONS)]
    await asyncio.sleep(0)
    assert (DESCRIPTIONS, 0) == (slow.waiting, found.in_flight)
    assert slow.gate is not None
    slow.gate.set()
    assert 3 * DESCRIPTIONS == len(await asyncio.gather(*asks))
    assert (DESCRIPTIONS, 0) == (slow.most, slow.waiting)


async def test_a_description_s_deadline_counts_while_it_waits_for_its_turn() -> None:
    """A backend that hangs holds nobody longer than that, and every place is given back."""
    slow = Slow("a", gate=asyncio.Event())
    found = cluster(slow)
    soon = Deadline(asyncio.get_running_loop().time() + 0.05)
    asks = [found.describe("metadata", "m", "", soon) for _ in range(2 * DESCRIPTIONS)]
    told = await asyncio.gather(*asks, return_exceptions=True)
    assert {ErrorKind.DEADLINE} == {each.kind for each in told if isinstance(each, InferenceError)}
    assert (2 * DESCRIPTIONS, 0) == (len(told), slow.waiting)
    assert slow.gate is not None
    slow.gate.set()
    assert {"name": "a"} == await found.describe("metadata", "m", "", LATER)


async def test_close_closes_every_endpoint() -> None:
    """No connection outlives its cluster."""
    one, two = One("a"), One("b")
    await cluster(one, two).close()
    assert (one.asked, two.asked) == (-1, -1)
