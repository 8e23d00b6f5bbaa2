"""Asking the next stage of a cascade at the same time as the one before it."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from policies.call import Answer, Call
from policies.cascade import CascadePolicy
from tests.policies.askers import STAGES, Asked, Clock, Gated, Make, Paced, Reply, failing


@pytest.fixture
async def expecting(make_call: Make, make_answer: Reply, observer: object) -> tuple[CascadePolicy, Call]:
    """A cascade that has seen nine of ten rows go up, either stage in 0.1 s; and a question of ten rows with 0.15 s left."""
    clock, two = Clock(), (STAGES[0], STAGES[2])
    policy = CascadePolicy(observer, clock)  # type: ignore[arg-type]
    asked = Paced(make_answer, {"fast": [0.95, *[0.1] * 9], "dear": [0.5] * 10}, clock, {"fast": 0.1, "dear": 0.1})

    def ask(at: float) -> Call:
        call = make_call(10, two, at=at)
        return replace(call, plan=replace(call.plan, speculate=0.8, sample=1.0))

    for _ in range(40):
        await policy(ask(clock.now + 10.0), asked)
    assert "dear" in asked.calls[-1]
    observer.lines.clear()  # type: ignore[attr-defined]
    return policy, ask(clock.now + 0.15)


async def test_the_next_stage_is_asked_at_once_where_time_is_short(
    expecting: tuple[CascadePolicy, Call], make_answer: Reply, observer: object
) -> None:
    """About all rows; of its answer those are taken that were not sure, and the client hears what it always hears."""
    policy, call = expecting
    asked = Gated(make_answer, {"fast": [0.95, *[0.1] * 9], "dear": [0.5] * 10})
    task = asyncio.ensure_future(policy(call, asked))
    await asked.began.wait()
    for gate in asked.gates.values():
        gate.set()
    answer = await task
    assert ("fast→dear", True) == (answer.escalation, answer.planned)
    assert [("fast", 1), ("dear", 9)] == [(share.variant, share.rows) for share in answer.shares]
    p = answer.response.output("p")
    assert p is not None
    assert [0.95, *[0.5] * 9] == p.array().ravel().tolist()
    assert [("fast", 10), ("dear", 10)] == [(each.variant, each.rows) for each in answer.asks]
    assert [("escalated", "digits", "fast", "dear", "speculated")] == observer.lines  # type: ignore[attr-defined]


async def test_who_was_asked_for_nothing_is_let_go(
    expecting: tuple[CascadePolicy, Call], make_answer: Reply, observer: object
) -> None:
    """Where the first stage was sure of every row, the other has given everything back when the client has its answer."""
    policy, call = expecting
    asked = Gated(make_answer, {"fast": [0.95] * 10})
    task = asyncio.ensure_future(policy(call, asked))
    await asked.began.wait()
    asked.gates["fast"].set()
    answer = await task
    assert ["fast asked", "dear asked", "dear cancelled"] == asked.lines
    assert ("none", [("fast", 10)]) == (answer.escalation, [(share.variant, share.rows) for share in answer.shares])
    assert [("fast", 10), ("dear", 10)] == [(each.variant, each.rows) for each in answer.asks]
    assert [("escalated", "digits", "fast", "dear", "needless")] == observer.lines  # type: ignore[attr-defined]


@pytest.mark.parametrize("answered", [False, True])
async def test_a_client_that_leaves_ends_both(expecting: tuple[CascadePolicy, Call], make_answer: Reply, answered: bool) -> None:
    """Whether it leaves while both are asked, or while only the second is waited for; nothing is left behind."""
    policy, call = expecting
    asked = Gated(make_answer, {"fast": [0.1] * 10})
    task = asyncio.ensure_future(policy(call, asked))
    await asked.began.wait()
    if answered:
        asked.gates["fast"].set()
        for _ in range(3):
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ({"dear cancelled"} if answered else {"fast cancelled", "dear cancelled"}) == set(asked.lines[2:])
    assert {asyncio.current_task()} == asyncio.all_tasks()


@pytest.mark.parametrize("kind", [ErrorKind.BROKEN, ErrorKind.DEADLINE, ErrorKind.OVERLOADED])
async def test_a_first_stage_that_fails_does_not_lose_what_the_second_answers(
    expecting: tuple[CascadePolicy, Call], make_answer: Reply, observer: object, kind: ErrorKind
) -> None:
    """Which was asked about the same rows at the same time; nobody keeps such an answer as the one that was planned."""
    policy, call = expecting
    asked = Gated(make_answer, {"dear": [0.5] * 10})
    asked.gates["dear"].set()
    answer = await policy(call, failing(asked, fast=kind))
    assert ("fast→dear", False) == (answer.escalation, answer.planned)
    assert [("dear", 10)] == [(share.variant, share.rows) for share in answer.shares]
    p = answer.response.output("p")
    assert p is not None
    assert [0.5] * 10 == p.array().ravel().tolist()
    assert [("escalated", "digits", "fast", "dear", "speculated")] == observer.lines  # type: ignore[attr-defined]
    assert {asyncio.current_task()} == asyncio.all_tasks()


async def test_a_first_stage_that_fails_for_the_question_s_sake_ends_the_second(
    expecting: tuple[CascadePolicy, Call], make_answer: Reply
) -> None:
    """What is wrong with it is wrong at every stage: the client hears it at once, and nobody is left behind."""
    policy, call = expecting
    asked = Gated(make_answer, {"dear": [0.5] * 10})
    with pytest.raises(InferenceError, match="no fast"):
        await policy(call, failing(asked, fast=ErrorKind.INVALID))
    assert ["fast asked", "dear asked", "dear cancelled"] == asked.lines
    assert {asyncio.current_task()} == asyncio.all_tasks()


async def test_where_both_fail_the_first_one_s_error_is_told(expecting: tuple[CascadePolicy, Call], make_answer: Reply) -> None:
    """It is the cause; it has cost what both have."""
    policy, call = expecting
    asked = Gated(make_answer, {})
    with pytest.raises(InferenceError, match="no fast") as raised:
        await policy(call, failing(asked, fast=ErrorKind.BROKEN, dear=ErrorKind.UNAVAILABLE))
    assert (ErrorKind.BROKEN, 2.0) == (raised.value.kind, raised.value.cost)
    assert {asyncio.current_task()} == asyncio.all_tasks()


async def test_a_second_that_fails_ahead_is_skipped(expecting: tuple[CascadePolicy, Call], make_answer: Reply) -> None:
    """The first answers stay, as they do when it fails in its turn."""
    policy, call = expecting

    async def failing(each: Call) -> Answer:
        await asyncio.sleep(0)
        if each.target is not None and each.target.variant == "dear":
            raise InferenceError(ErrorKind.UNAVAILABLE, "no")
        return make_answer(each, {"fast": [0.95, *[0.1] * 9]})

    answer = await policy(call, failing)
    assert ("skipped;error", [("fast", 10)]) == (answer.escalation, [(each.variant, each.rows) for each in answer.shares])


async def test_what_must_not_be_asked_twice_is_not_asked_ahead(
    expecting: tuple[CascadePolicy, Call], make_answer: Reply, observer: object
) -> None:
    """A model that remembers its sequence would remember a question that was for nothing."""
    policy, call = expecting
    call = replace(call, request=replace(call.request, parameters={"sequence_id": 7}))
    await policy(call, Asked(make_answer, {"fast": [0.95] * 10}))
    assert [] == observer.lines  # type: ignore[attr-defined]


@pytest.mark.parametrize(("least", "more"), [(0.95, 0.0), (0.8, 0.1), (0.8, -0.1)])
async def test_one_after_the_other_where_that_is_better(
    expecting: tuple[CascadePolicy, Call], make_answer: Reply, observer: object, least: float, more: float
) -> None:
    """Where fewer rows are expected to go up, where there is time for both, or not even for the second alone."""
    policy, call = expecting
    call = replace(call, plan=replace(call.plan, speculate=least), deadline=Deadline(call.deadline.at + more))
    asked = Asked(make_answer, {"fast": [0.95, *[0.1] * 9], "dear": [0.5] * 10})
    await policy(call, asked)
    assert ("fast", list(range(10))) == asked.calls[0]
    assert not any("speculated" in line or "needless" in line for line in observer.lines)  # type: ignore[attr-defined]
