"""Questions that take long are asked at a second endpoint, within the rules, and the first answer is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, Tensors
from backends.latency import EVERY
from backends.rules import Hedge, Retry, Rules
from backends.second import Hedging
from tests.backends.conftest import until

if TYPE_CHECKING:
    from tests.backends.conftest import Set

Make = Callable[..., "Set"]
REQUEST = InferenceRequest("m", "", "", {}, (), (), Tensors(()))
LATE = Rules(64, retry=Retry(2, 1.0))
HEDGED = Rules(64, hedge=Hedge(0.5, 1.0))


def soon(seconds: float = 0.2) -> Deadline:
    return Deadline(monotonic() + seconds)


async def learnt(found: Set) -> None:
    """So many answers that hedges know how long they take."""
    for _ in range(EVERY * len(found.servers)):
        await found.cluster.infer(REQUEST, soon())
    found.told.clear()


async def test_at_half_the_time_another_is_asked(scripted: Make) -> None:
    """The first hangs: the second's answer is taken, the first is let go, and that it hung counts against it."""
    found = scripted(LATE, "a", "b")
    found.servers[0].gate = asyncio.Event()
    began = monotonic()
    assert "b" == (await found.cluster.infer(REQUEST, soon(0.2))).model
    assert 0.1 <= monotonic() - began < 0.2
    await until(found.idle)
    assert (["late"], 1) == (found.repeats, found.servers[0].left)
    assert [("b", "ok"), ("a", "overtaken")] == found.told
    assert not found.cluster.endpoints[0].sound


async def test_a_slow_first_one_may_still_win(scripted: Make) -> None:
    """Nothing that would have been answered is lost by asking elsewhere as well."""
    found = scripted(LATE, "a", "b")
    gate = found.servers[0].gate = found.servers[1].gate = asyncio.Event()
    asking = asyncio.create_task(found.cluster.infer(REQUEST, soon(0.3)))
    await until(lambda: [1, 1] == found.asked)
    found.servers[1].gate = None
    gate.set()
    assert "a" == (await asking).model
    await until(found.idle)
    assert ("a", "ok") in found.told


async def test_at_once_where_the_checks_are_not_answered(scripted: Make) -> None:
    """A question that waits at an endpoint which turns out to hang need not wait for half its time."""
    found = scripted(LATE, "a", "b")
    found.servers[0].gate = asyncio.Event()
    asking = asyncio.create_task(found.cluster.infer(REQUEST, soon(60)))
    await asyncio.sleep(0)
    found.cluster.endpoints[0].seen(False, frozenset(), monotonic())
    async with asyncio.timeout(5):
        assert "b" == (await asking).model
    await until(found.idle)


@pytest.mark.parametrize(
    "more", [{"parameters": {"sequence_id": 1}}, {"headers": (("idempotency-key", "k"),)}], ids=["sequence", "idempotency-key"]
)
@pytest.mark.parametrize("rules", [LATE, HEDGED], ids=["late", "hedge"])
async def test_what_must_not_be_done_twice(scripted: Make, rules: Rules, more: Any) -> None:
    """Waits for the one that was asked."""
    found = scripted(rules, "a", "b")
    await learnt(found)
    found.servers[0].gate = found.servers[1].gate = asyncio.Event()
    before = sum(found.asked)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.15):
            await found.cluster.infer(replace(REQUEST, **more), soon(0.2))
    assert before + 1 == sum(found.asked)


async def test_only_as_far_as_the_budget_goes(scripted: Make) -> None:
    """When every endpoint hangs, questions are not doubled."""
    found = scripted(Rules(64, retry=Retry(2, 0.0)), "a", "b")
    found.servers[0].gate = found.servers[1].gate = asyncio.Event()
    asks = [asyncio.create_task(found.cluster.infer(REQUEST, soon(0.1))) for _ in range(20)]
    await asyncio.wait(asks, timeout=0.2)
    for ask in asks:
        ask.cancel()
    await asyncio.gather(*asks, return_exceptions=True)
    await until(found.idle)
    assert 3 == len(found.repeats) == sum(found.asked) - 20  # a tenth of half the room: what a new budget holds


async def test_a_hedge_comes_after_the_usual_time(scripted: Make) -> None:
    """Long before half the time; losing it is no failure."""
    found = scripted(HEDGED, "a", "b")
    await learnt(found)
    found.servers[0].gate = asyncio.Event()
    began = monotonic()
    assert "b" == (await found.cluster.infer(REQUEST, soon(60))).model
    assert monotonic() - began < 2
    await until(found.idle)
    assert ["hedge"] == found.repeats
    assert all(endpoint.sound for endpoint in found.cluster.endpoints)


async def test_no_hedge_before_the_usual_time_is_known(scripted: Make) -> None:
    """The first questions wait."""
    found = scripted(HEDGED, "a", "b")
    found.servers[0].gate = asyncio.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await found.cluster.infer(REQUEST, soon(0.1))
    assert [1, 0] == found.asked


async def test_a_hedge_and_then_late(scripted: Make) -> None:
    """Without budget for a hedge, the question is still asked elsewhere when half its time is over."""
    found = scripted(Rules(64, retry=Retry(2, 1.0), hedge=Hedge(0.5, 0.0)), "a", "b")
    await learnt(found)
    assert found.cluster.hedging is not None
    while found.cluster.hedging.budget.take():
        pass
    found.servers[0].gate = asyncio.Event()
    assert "b" == (await found.cluster.infer(REQUEST, soon(0.2))).model
    assert ["late"] == found.repeats
    await until(found.idle)


async def test_the_second_fails_and_the_first_answers(scripted: Make) -> None:
    """A second that fails changes nothing for the first."""
    found = scripted(LATE, "a", "b")
    gate = found.servers[0].gate = asyncio.Event()
    found.servers[1].failure = InferenceError(ErrorKind.BROKEN, "b")
    asking = asyncio.create_task(found.cluster.infer(REQUEST, soon(0.3)))
    await until(lambda: ("b", "broken") in found.told)
    gate.set()
    assert "a" == (await asking).model


async def test_the_first_fails_and_the_second_answers(scripted: Make) -> None:
    """The second under way is waited for instead of asking a third time."""
    found = scripted(LATE, "a", "b", "c", kind="least-request")
    gates = [asyncio.Event(), asyncio.Event()]
    found.servers[0].gate, found.servers[1].gate = gates
    found.servers[0].failure = InferenceError(ErrorKind.BROKEN, "a")
    asking = asyncio.create_task(found.cluster.infer(REQUEST, soon(0.3)))
    await until(lambda: [1, 1, 0] == found.asked)
    gates[0].set()
    await until(lambda: ("a", "broken") in found.told)
    gates[1].set()
    assert "b" == (await asking).model
    assert [1, 1, 0] == found.asked


async def test_both_fail(scripted: Make) -> None:
    """The first's failure is the cause; two attempts were allowed, and two were made."""
    found = scripted(LATE, "a", "b", "c", kind="least-request")
    gate = found.servers[0].gate = found.servers[1].gate = asyncio.Event()
    for server in found.servers[:2]:
        server.failure = InferenceError(ErrorKind.BROKEN, server.name)
    asking = asyncio.create_task(found.cluster.infer(REQUEST, soon(0.3)))
    await until(lambda: [1, 1, 0] == found.asked)
    gate.set()
    with pytest.raises(InferenceError, match="a"):
        await asking
    assert [1, 1, 0] == found.asked


@pytest.mark.parametrize("after", [0.0, 0.12])
async def test_who_leaves_takes_both_along(scripted: Make, after: float) -> None:
    """Before the second is asked and while both are; the cancellation goes on to whoever waits."""
    found = scripted(LATE, "a", "b")
    found.servers[0].gate = found.servers[1].gate = asyncio.Event()
    asking = asyncio.create_task(found.cluster.infer(REQUEST, soon(0.2)))
    await asyncio.sleep(after)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await until(found.idle)
    assert sum(found.asked) == sum(server.left for server in found.servers)


async def test_a_cancellation_in_the_same_moment_goes_on(scripted: Make) -> None:
    """Somebody's own cancellation is not taken for the winner's interruption, and leaves no trace on the task."""
    found = scripted(LATE, "a", "b")
    found.servers[0].gate, gate = asyncio.Event(), asyncio.Event()
    found.servers[1].gate = gate
    asking = asyncio.create_task(found.cluster.infer(REQUEST, soon(0.2)))
    await until(lambda: [1, 1] == found.asked)
    second = next(task for task in asyncio.all_tasks() if task not in (asking, asyncio.current_task()))
    second.add_done_callback(lambda _: asking.cancel())
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert 1 == asking.cancelling()


async def test_the_task_goes_on_as_if_nothing_had_been(scripted: Make) -> None:
    """Winning leaves no cancellation pending: the next wait of the task is not cut short."""
    found = scripted(LATE, "a", "b")
    found.servers[0].gate = asyncio.Event()
    await found.cluster.infer(REQUEST, soon(0.1))
    task = asyncio.current_task()
    assert task is not None
    assert 0 == task.cancelling()
    await asyncio.sleep(0)


def test_latencies_are_bounded(scripted: Make) -> None:
    """Clients may name versions: what is kept of them is not for them to decide."""
    from backends.attempt import Attempt
    from backends.second import MOST_MODELS

    found, hedging = scripted(HEDGED, "a"), Hedging(Hedge(), 10.0)
    for number in range(MOST_MODELS + 10):
        hedging.of(Attempt(found.cluster, found.cluster.endpoints[0], 0, replace(REQUEST, version=str(number)), soon()))
    assert MOST_MODELS >= len(hedging._latencies)
