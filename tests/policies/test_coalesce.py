"""Equal questions in flight share one ask, which belongs to none of them; with leases, those of several processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from msgspec.structs import replace

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from gateway.spawner import Spawner
from policies.call import Answer, Call
from policies.coalesce import CoalescePolicy
from routing.bill import Bill
from tests.policies.leased import STEPS, Crowd, Held, Process, Shared, Step

MakeCall = Callable[..., Call]
MakeAnswer = Callable[[Call, dict[str, list[float]]], Answer]


class Backend:
    """Answers when told to; keeps what it was asked and who gave up."""

    def __init__(self, answer: Answer) -> None:
        self.asked: list[Call] = []
        self.given_up = 0
        self.go = asyncio.Event()
        self.error: InferenceError | None = None
        self.answer = answer

    async def __call__(self, call: Call) -> Answer:
        self.asked.append(call)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        error, self.error = self.error, None
        if error is not None:
            raise error
        return self.answer


@pytest.fixture
async def spawner() -> AsyncIterator[Spawner]:
    spawner = Spawner()
    yield spawner
    assert 0 == len(spawner)
    await spawner.close()


@pytest.fixture
def policy(spawner: Spawner) -> CoalescePolicy:
    return CoalescePolicy(spawner.spawn, lambda: 10.0)


@pytest.fixture
def question(make_call: MakeCall) -> Call:
    call = make_call(1, at=11.0)
    return replace(call, key=b"k", target=call.plan.stages[0].target, received=10.0)


@pytest.fixture
def backend(question: Call, make_answer: MakeAnswer) -> Backend:
    return Backend(make_answer(question, {"fast": [1.0]}))


async def settled() -> None:
    """Everything that can go on without an event from outside has done so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_ask_for_all(policy: CoalescePolicy, question: Call, backend: Backend) -> None:
    """The first is told what it cost, the others that it cost them nothing; then everything is forgotten."""
    waiting = [asyncio.ensure_future(policy(question, backend)) for _ in range(5)]
    await settled()
    backend.go.set()
    answers = await asyncio.gather(*waiting)
    assert 1 == len(backend.asked)
    assert [False, True, True, True, True] == [each.collapsed for each in answers]
    assert [1, 0, 0, 0, 0] == [each.cost for each in answers]
    assert {} == policy._flights
    await policy(question, backend)
    assert 2 == len(backend.asked)


async def test_without_a_key_nobody_is_asked_for(policy: CoalescePolicy, question: Call, backend: Backend) -> None:
    """Questions that may not share an answer, of other keys, or of other priorities, go their own way."""
    backend.go.set()
    higher = replace(question, request=replace(question.request, priority=0))
    several = [replace(question, key=b""), replace(question, key=b""), question, replace(question, key=b"other"), higher]
    await asyncio.gather(*(policy(each, backend) for each in several))
    assert 5 == len(backend.asked)


@pytest.mark.parametrize("leaving", [0, 1, 2])
async def test_whoever_leaves_hurts_nobody(policy: CoalescePolicy, question: Call, backend: Backend, leaving: int) -> None:
    """Neither the first to ask nor another."""
    waiting = [asyncio.ensure_future(policy(question, backend)) for _ in range(3)]
    await settled()
    waiting.pop(leaving).cancel()
    await settled()
    backend.go.set()
    await asyncio.gather(*waiting)
    assert (1, 0) == (len(backend.asked), backend.given_up)


async def test_the_last_to_leave_ends_it(policy: CoalescePolicy, question: Call, backend: Backend) -> None:
    """The backend hears of it at once, and whoever comes then has a flight of his own."""
    waiting = [asyncio.ensure_future(policy(question, backend)) for _ in range(3)]
    await settled()
    for each in waiting:
        each.cancel()
    late = asyncio.ensure_future(policy(question, backend))
    await settled()
    assert (2, 1) == (len(backend.asked), backend.given_up)
    backend.go.set()
    assert not (await late).collapsed


async def test_an_error_is_everybodys_once(policy: CoalescePolicy, question: Call, backend: Backend) -> None:
    """Each has an exception of its own that says the same; the next question asks again."""
    full = InferenceError(ErrorKind.OVERLOADED, "no room", source="triton", reason="full", retryable=True, retry_after=2.0)
    backend.error = full
    waiting = [asyncio.ensure_future(policy(question, backend)) for _ in range(3)]
    await settled()
    backend.go.set()
    errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert 3 == len({id(each) for each in errors})
    for error in errors:
        assert isinstance(error, InferenceError)
        assert vars(full) == vars(error)
    assert (1, {}) == (len(backend.asked), policy._flights)


async def test_a_flight_has_the_routes_whole_time(policy: CoalescePolicy, question: Call, backend: Backend) -> None:
    """Though the first to ask has less: its client's timeout is its own."""
    backend.go.set()
    await policy(replace(question, deadline=Deadline(10.2)), backend)
    assert question.received + question.plan.timeout == backend.asked[0].deadline.at


async def test_who_has_time_left_asks_again(spawner: Spawner, question: Call, backend: Backend) -> None:
    """The flight's time is that of whoever came first; one who came later has some left when it is over."""
    now = 10.0
    policy = CoalescePolicy(spawner.spawn, lambda: now)
    backend.error = InferenceError(ErrorKind.DEADLINE, "late")
    first = asyncio.ensure_future(policy(question, backend))
    await settled()
    later = asyncio.ensure_future(policy(replace(question, received=10.5, deadline=Deadline(11.5)), backend))
    await settled()
    now = 11.0
    backend.go.set()
    failed = await asyncio.gather(first, return_exceptions=True)
    assert isinstance(failed[0], InferenceError)
    assert not (await later).collapsed
    assert 2 == len(backend.asked)


async def test_a_defect_leaves_nobody_waiting(policy: CoalescePolicy, question: Call) -> None:
    """Whoever waits hears that there is no answer."""

    async def broken(call: Call) -> Answer:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    with pytest.raises(InferenceError) as failed:
        await policy(question, broken)
    assert ErrorKind.UNAVAILABLE is failed.value.kind


async def test_with_too_much_in_the_background_each_asks_for_itself(question: Call, backend: Backend) -> None:
    """Sharing is a favour, no condition."""
    spawner = Spawner(limit=0)
    backend.go.set()
    answer = await CoalescePolicy(spawner.spawn, lambda: 10.0)(question, backend)
    assert (False, 1) == (answer.collapsed, len(backend.asked))


# Leases


@pytest.fixture
def shared() -> Shared:
    return Shared()


@pytest.fixture
def processes(shared: Shared, spawner: Spawner) -> list[Process]:
    return [Process(shared, spawner) for _ in range(3)]


async def test_one_ask_for_all_processes(processes: list[Process], shared: Shared, question: Call, backend: Backend) -> None:
    """The others take what the first has kept."""
    waiting = [asyncio.ensure_future(each.ask(question, backend)) for each in processes for _ in range(3)]
    await settled()
    backend.go.set()
    answers = await asyncio.gather(*waiting)
    assert 1 == len(backend.asked)
    assert [True] * 9 == [each.response is answers[0].response for each in answers]
    assert ([[True]], {}) == ([each.released for each in shared.given], shared.held)


async def test_a_lease_ends_when_the_answer_is_kept(shared: Shared, spawner: Spawner, question: Call, backend: Backend) -> None:
    """Whoever sees that the flight has landed finds its answer."""
    found: list[bool] = []

    class Watched(Held):
        def release(self, landed: bool) -> None:
            found.append(self.key in shared.kept)

    async def take(key: bytes, until: float) -> Held:
        return Watched(shared, key)

    shared.take = take  # type: ignore[method-assign]
    backend.go.set()
    await Process(shared, spawner).ask(question, backend)
    await settled()
    assert [True] == found


async def test_an_error_makes_no_queue(processes: list[Process], shared: Shared, question: Call, backend: Backend) -> None:
    """When the first has failed the others ask at the same moment, each process once, and without leases."""
    backend.error = InferenceError(ErrorKind.BROKEN, "broken")
    waiting = [asyncio.ensure_future(each.ask(question, backend)) for each in processes for _ in range(3)]
    await settled()
    assert 1 == len(backend.asked)
    backend.go.set()
    backend.go = asyncio.Event()
    await settled()
    assert 3 == len(backend.asked)
    backend.go.set()
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert 3 == sum(isinstance(each, InferenceError) for each in told)
    assert (1, {}) == (len(shared.given), shared.held)


async def test_a_dead_leader_is_replaced(processes: list[Process], shared: Shared, question: Call, backend: Backend) -> None:
    """By one of those who wait; should it live after all, nobody is hurt, and it ends nobody's lease but its own."""
    waiting = [asyncio.ensure_future(each.ask(question, backend)) for each in processes]
    await settled()
    shared.die(question.key)
    await settled()
    assert 2 == len(backend.asked)
    backend.go.set()
    await asyncio.gather(*waiting)
    assert (2, {}) == (len(backend.asked), shared.held)


async def test_a_store_that_is_away_stops_nobody(
    processes: list[Process], shared: Shared, question: Call, backend: Backend
) -> None:
    """Each process asks for itself, also those that were waiting for another's flight."""
    waiting = [asyncio.ensure_future(each.ask(question, backend)) for each in processes]
    await settled()
    shared.away = True
    shared.change()
    await settled()
    assert 3 == len(backend.asked)
    backend.go.set()
    await asyncio.gather(*waiting)


async def test_waiting_ends_at_the_deadline(processes: list[Process], shared: Shared, question: Call, backend: Backend) -> None:
    """Whose time is over while another process asks hears that it is."""
    leader = asyncio.ensure_future(processes[0].ask(question, backend))
    await settled()
    late = asyncio.ensure_future(processes[1].ask(question, backend))
    await settled()
    shared.now = 12.0
    shared.change()
    with pytest.raises(InferenceError) as failed:
        await late
    assert (ErrorKind.DEADLINE, 1) == (failed.value.kind, len(backend.asked))
    backend.go.set()
    await leader


async def test_the_last_to_leave_gives_the_lease_back(
    processes: list[Process], shared: Shared, question: Call, backend: Backend
) -> None:
    """At once, as what it is: no landing, so that one of those who wait elsewhere asks in its place."""
    first, other = (asyncio.ensure_future(each.ask(question, backend)) for each in processes[:2])
    await settled()
    first.cancel()
    await settled()
    assert ([False], 2, 1) == (shared.given[0].released, len(backend.asked), backend.given_up)
    other.cancel()
    await settled()
    assert {} == shared.held


async def test_priorities_have_leases_of_their_own(
    processes: list[Process], shared: Shared, question: Call, backend: Backend
) -> None:
    """One that may be refused for want of room does not fly for one that may not, in another process neither."""
    higher = replace(question, request=replace(question.request, priority=0))
    backend.go.set()
    await asyncio.gather(processes[0].ask(question, backend), processes[1].ask(higher, backend))
    assert 2 == len({each.key for each in shared.given})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # which are frozen
@given(steps=STEPS)
async def test_whatever_happens_nothing_is_left(question: Call, backend: Backend, steps: list[Step]) -> None:
    """Each has an answer to his own question or the error that its asker met; of all asks only one for each lease given, and
    one for each time that a process was told to do without; in the end nobody holds or waits for anything."""
    crowd = Crowd(question, backend.answer)
    for step in steps:
        await crowd.step(step)
    await crowd.drain()
    for key, task in crowd.waiting:
        if not task.cancelled() and task.exception() is None:
            assert key.decode() == task.result().escalation
    assert ({}, []) == (crowd.shared.held, crowd.pending)
    assert [1] * len(crowd.shared.given) == [len(each.released) for each in crowd.shared.given]
    assert crowd.asked <= len(crowd.shared.given) + crowd.shared.refused
    assert [{}] * 3 == [each.policy._flights for each in crowd.processes]


async def test_a_flight_is_on_the_bill_of_who_began_it(policy: CoalescePolicy, backend: Backend, question: Call) -> None:
    """Though he has left: it is settled when it lands. Who joined pays nothing."""
    settlements: list[tuple[str, float]] = []

    def bill(name: str) -> Bill:
        return Bill(settle=lambda paid, _: settlements.append((name, paid)))

    first, second = bill("first"), bill("second")
    leaving = asyncio.ensure_future(policy(replace(question, bill=first), backend))
    await settled()
    staying = asyncio.ensure_future(policy(replace(question, bill=second), backend))
    await settled()
    leaving.cancel()
    await settled()
    first.close()
    assert [] == settlements
    first.asked()
    first.pay(40.0)
    assert [] == settlements
    backend.go.set()
    await staying
    second.close()
    await settled()
    assert [("first", 40.0), ("second", 0.0)] == sorted(settlements)
