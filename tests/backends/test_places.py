"""Places of a cluster: waited for, given back and handed on, whatever becomes of those who ask."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from random import Random
from time import monotonic
from typing import Any

import pytest

from backends.balance import Balance
from backends.cluster import Cluster
from backends.deadline import Deadline
from backends.endpoint import Endpoint
from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, InferenceResponse, Tensors
from backends.rules import Retry, Rules
from gateway.edge.errand import Errand


class Held:
    """A backend that answers when told to, or fails."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[None]] = []
        self.asked: list[str] = []

    async def infer(self, request: InferenceRequest, deadline: Deadline) -> InferenceResponse:
        self.asked.append(request.id)
        future = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        try:
            await future
        finally:
            self.waiting.remove(future)
        return InferenceResponse("m", "", request.id, {}, Tensors(()))

    async def stream(self, request: InferenceRequest, deadline: Deadline) -> AsyncGenerator[InferenceResponse, None]:
        yield await self.infer(request, deadline)
        yield await self.infer(request, deadline)

    def end(self, error: InferenceError | None = None) -> None:
        """The oldest one's."""
        future = next(each for each in self.waiting if not each.done())
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


def cluster(held: Any, room: int = 2, retry: Retry | None = None, chance: Callable[[], float] = lambda: 0.5) -> Cluster:
    return Cluster("c", [Endpoint("a", held)], Balance("round-robin", chance), Rules(room, retry), lambda *_: None)


def question(id: str = "", model: str = "m", priority: int | None = None) -> InferenceRequest:
    return InferenceRequest(model, "", id, {}, (), (), Tensors(()), priority=priority)


def soon(seconds: float = 30.0) -> Deadline:
    return Deadline(monotonic() + seconds)


async def turns(count: int = 5) -> None:
    """Lets everybody go on who can."""
    for _ in range(count):
        await asyncio.sleep(0)


async def ended(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_place_goes_to_whoever_waits() -> None:
    """In the order of priority, when the answer before has come; nobody passes those who wait."""
    held = Held()
    found = cluster(held, room=1)
    first = asyncio.create_task(found.infer(question("first"), soon()))
    await turns()
    later = [asyncio.create_task(found.infer(question(str(priority), priority=priority), soon())) for priority in (9, 5, 0)]
    await turns()
    for _ in range(4):
        assert 1 == found.in_flight
        held.end()
        await turns()
    assert ["first", "0", "5", "9"] == held.asked
    assert 0 == found.in_flight
    await asyncio.gather(first, *later)


async def test_one_that_leaves_the_queue_takes_nothing_with_it() -> None:
    """Cancelled while it waits, it is passed over."""
    held = Held()
    found = cluster(held, room=1)
    tasks = [asyncio.create_task(found.infer(question(name), soon())) for name in "abc"]
    await turns()
    await ended(tasks[1])
    held.end()
    await turns()
    assert ["a", "c"] == held.asked
    held.end()
    await turns()
    assert (0, 0) == (found.in_flight, found.places.lane("m").in_flight)


async def test_one_cancelled_between_its_place_and_hearing_of_it_gives_it_back() -> None:
    """The next one has it."""
    held = Held()
    found = cluster(held, room=1)
    tasks = [asyncio.create_task(found.infer(question(name), soon())) for name in "abc"]
    await turns()
    lane = found.places.lane("m")
    held.end()
    await turns(1)
    assert (1, 1, ["a"]) == (lane.in_flight, len(lane.queue), held.asked)  # b has a place, and goes on in the next turn
    tasks[1].cancel()
    await turns()
    assert ["a", "c"] == held.asked
    held.end()
    await turns()
    assert (0, 0) == (found.in_flight, lane.in_flight)


async def test_who_has_no_time_for_an_answer_does_not_wait() -> None:
    """Nor is it the one that may try after a while without answers: whoever finds room is."""
    found = cluster(held := Held(), room=1)
    task = asyncio.create_task(found.infer(question(), soon()))
    await turns()
    found.places.lane("m").concurrency.quickest = 0.5
    with pytest.raises(InferenceError) as caught:
        await found.infer(question(), soon(0.2))
    assert (ErrorKind.DEADLINE, "no-time") == (caught.value.kind, caught.value.reason)
    await ended(task)
    trying = asyncio.create_task(found.infer(question("tries"), soon(0.2)))
    await turns()
    assert ["", "tries"] == held.asked
    await ended(trying)


async def test_waiting_has_an_end() -> None:
    """A quarter of its time; then it is told to come back after a pause by chance."""
    found = cluster(Held(), room=1)
    task = asyncio.create_task(found.infer(question(), soon()))
    await turns()
    began = monotonic()
    with pytest.raises(InferenceError) as caught:
        await found.infer(question(), soon(1.2))
    assert 0.25 <= monotonic() - began < 1.1
    assert (ErrorKind.OVERLOADED, "max-in-flight", 1.5) == (caught.value.kind, caught.value.reason, caught.value.retry_after)
    assert "try again" in caught.value.message
    await ended(task)


async def test_a_pause_of_the_whole_process_is_no_waiting() -> None:
    """Who could not have been answered meanwhile has a moment more."""
    held = Held()
    backend = cluster(held, room=1)
    first, second = (asyncio.create_task(backend.infer(question(), soon(1.0))) for _ in range(2))
    await turns()
    begin = monotonic()
    while monotonic() < begin + 0.4:  # as if others had the processor: the second may wait for 0.25 s
        pass
    await asyncio.sleep(0.03)
    for each in (first, second):
        held.end()
        await each
        await turns()


async def test_what_cannot_be_answered_in_time_is_told_so_at_once() -> None:
    """The quickest answer took longer than there is time."""
    held = Held()
    found = cluster(held)
    found.places.lane("m").answered(1, 10.0, monotonic())
    with pytest.raises(InferenceError) as caught:
        await found.infer(question(), soon(5.0))
    assert (ErrorKind.DEADLINE, "no-time") == (caught.value.kind, caught.value.reason)
    assert ([], 0) == (held.asked, found.in_flight)


async def test_models_do_not_take_each_others_places() -> None:
    """One that is slow fills its own lane; the other is answered as ever, until the policy's bound is reached."""
    held = Held()
    found = cluster(held, room=4)
    found.places.lane("slow").limit = 2
    tasks = [asyncio.create_task(found.infer(question(str(number), "slow"), soon())) for number in range(5)]
    tasks += [asyncio.create_task(found.infer(question(f"quick {number}", "quick"), soon())) for number in range(3)]
    await turns()
    assert ["0", "1", "quick 0", "quick 1"] == held.asked
    held.end()
    await turns()
    assert ["2"] == held.asked[4:]
    await ended(*tasks[2:5])  # the slow ones': now there is a place, though not of the quick ones' own
    await turns()
    assert ["quick 2"] == held.asked[5:]
    await ended(*tasks)
    assert 0 == found.in_flight


async def test_a_question_that_is_repeated_has_one_place() -> None:
    """However often it is tried."""
    held = Held()
    found = cluster(held, retry=Retry(3, 1.0), chance=lambda: 0.0)
    task = asyncio.create_task(found.infer(question(), soon()))
    for _ in range(2):
        await turns()
        assert (1, 1) == (found.in_flight, len(held.waiting))
        held.end(InferenceError(ErrorKind.BROKEN, "sick"))
    with pytest.raises(InferenceError, match="sick"):
        await task
    assert 0 == found.in_flight


async def test_a_stream_has_a_place_until_it_ends() -> None:
    """Also one that is closed early."""
    held = Held()
    found = cluster(held)
    stream = found.stream(question(), soon())
    first = asyncio.ensure_future(anext(stream))
    await turns()
    held.end()
    assert "m" == (await first).model
    assert 1 == found.in_flight
    await stream.aclose()
    assert 0 == found.in_flight


@pytest.mark.parametrize("seed", range(8))
async def test_nothing_is_left_of_a_crowd(seed: int) -> None:
    """Answered, failed, cancelled, out of time, streams and all: every place is free in the end."""
    chance, held = Random(seed), Held()
    found = cluster(held, room=5)
    loop, over = asyncio.get_running_loop(), []

    async def ask() -> None:
        asked = question(model=chance.choice("mn"), priority=chance.randrange(10))
        with contextlib.suppress(InferenceError):
            if chance.random() < 0.3:
                async with contextlib.aclosing(found.stream(asked, soon(chance.choice([0.01, 5.0])))) as answers:
                    async for _ in answers:
                        pass
            else:
                await found.infer(asked, soon(chance.choice([0.01, 5.0])))

    errands: list[Any] = []
    for _ in range(300):
        match chance.randrange(6):
            case 0 | 1:
                errands.append(asyncio.create_task(ask()))
            case 2:
                errand = Errand(loop, ask(), lambda: over.append(1))
                errands.append(errand)
                errand.step()
            case 3 if any(not each.done() for each in held.waiting):
                held.end(chance.choice([None, None, InferenceError(ErrorKind.OVERLOADED, "no")]))
            case 4 if errands:
                chance.choice(errands).cancel()
            case _:
                await turns(chance.randrange(3))
        assert 0 <= found.in_flight <= 5
    for each in errands:
        each.cancel()
    await turns(50)
    assert all(each.done() for each in errands)
    assert [0, 0, 0] == [found.in_flight, *(lane.in_flight for lane in found.places.lanes.values())]
    assert not any(lane.queue for lane in found.places.lanes.values())
    assert held.waiting == []


async def test_what_is_stuck_at_a_silent_endpoint_takes_nobodys_place() -> None:
    """One of two has not answered for long, and the other does: who waits is let in, and to the policy's bound only."""
    hung: Any = Held()
    well: Any = Held()
    endpoints = [Endpoint("hung", hung), Endpoint("well", well)]
    found = Cluster("c", endpoints, Balance("round-robin", lambda: 0.5), Rules(6), lambda *_: None)
    lane = found.places.lane("m")
    lane.limit = lane.concurrency.limit = 2
    tasks = [asyncio.create_task(found.infer(question(str(number)), soon())) for number in range(2)]
    await turns()
    assert (["0"], ["1"]) == (hung.asked, well.asked)
    tasks += [asyncio.create_task(found.infer(question(str(number)), soon())) for number in range(2, 8)]
    async with asyncio.timeout(5):
        while not lane.stuck:
            for each in (endpoints[1], endpoints[1]):
                each.answers += 1  # of other models
            await asyncio.sleep(0.01)
    assert lane.in_flight > 2
    assert found.in_flight <= 6
    await ended(*tasks)
    assert 0 == found.in_flight


async def test_a_lone_endpoint_that_is_silent_is_not_asked_more() -> None:
    """Nobody would answer them."""
    held = Held()
    found = cluster(held, room=6)
    lane = found.places.lane("m")
    lane.limit = lane.concurrency.limit = 2
    tasks = [asyncio.create_task(found.infer(question(str(number)), soon(1.0))) for number in range(5)]
    await asyncio.gather(*tasks[2:], return_exceptions=True)
    assert (2, 0, ["0", "1"]) == (lane.in_flight, lane.stuck, held.asked)
    await ended(*tasks)
