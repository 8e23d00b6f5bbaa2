"""Tests of policies.budget where time costs: what nobody knows before is reserved by its bound."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.deadline import Deadline
from policies.call import Answer, Ask, Call, LimitedError
from policies.cascade import CascadePolicy
from policies.purse import Purses
from routing.budgets import Want, period_of
from routing.limits import accounts
from routing.plan import Stage, Target
from routing.price import Price
from routing.principal import Principal
from tests.policies.till import NOON, STAGES, Make, Reply, Till, answered, limit, never, of, paid


def timed(call: Call, seconds: float, gpu_ms: float = 1.0) -> Call:
    """To a variant that is paid by the millisecond, with so much time."""
    target = Target("timed", "t", "m", price=Price(gpu_ms=gpu_ms))
    return replace(call, deadline=Deadline(call.received + seconds), plan=replace(call.plan, stages=(Stage(target),)))


async def test_reserved_is_what_the_time_of_a_question_costs_at_most(make_call: Make) -> None:
    """However quick such questions usually are. What is left beside that is for who fits, and free again when it ends."""
    till, go = Till(limit(cost=100.0)), asyncio.Event()
    call = of(timed(make_call(1), 0.030), "a")

    async def ask(asked: Call) -> Answer:
        assert asked.bill is not None
        asked.bill.asked()
        await go.wait()
        asked.bill.pay(2.0)
        return answered(asked, 2.0)

    running = [asyncio.ensure_future(till.policy(call, ask)) for _ in range(4)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [False, False, False, True] == [each.done() for each in running]
    with pytest.raises(LimitedError, match="reserved for questions in flight"):
        await running[3]
    go.set()
    await asyncio.gather(*running[:3])
    assert [True, True] == [await till.fits(call, 30.0) for _ in range(2)]
    assert 34.0 == pytest.approx(left_of(till, "a"))


async def test_a_flight_that_others_may_join_has_its_route_s_time(make_call: Make) -> None:
    """So that is what is reserved, though this client has less."""
    till, call = Till(limit(cost=100.0)), of(timed(make_call(1), 0.010), "a")
    for key, held in ((b"", 10.0), (b"k", 50.0)):

        async def ask(asked: Call, held: float = held) -> Answer:
            assert 100.0 - held == pytest.approx(left_of(till, "a"))
            return answered(asked, 0.0)

        await till.policy(replace(call, key=key, plan=replace(call.plan, timeout=0.050)), ask)


async def test_what_is_left_at_the_end_is_for_one_after_the_other(make_call: Make) -> None:
    """Less than the most that it may cost, and more than it usually does: it is asked if nobody else is. If it costs the most all
    the same, that much is overspent, once."""
    till, call = Till(limit(cost=100.0)), of(timed(make_call(1), 0.060), "a")
    assert await till.fits(call, 58.0)

    async def ask(asked: Call) -> Answer:
        with pytest.raises(LimitedError, match="reserved for questions in flight"):
            await till.policy(call, never)
        paid(asked, 3.0)
        return answered(asked, 3.0)

    await till.policy(call, ask)
    assert await till.fits(call, 1000.0)  # it cannot have taken so long: this process stood still
    assert -21.0 == pytest.approx(left_of(till, "a"))
    with pytest.raises(LimitedError, match="has spent its cost"):
        await till.policy(call, never)


async def test_rows_go_up_for_what_the_time_that_is_left_costs_at_most(
    make_call: Make, make_answer: Reply, observer: object
) -> None:
    """What was reserved for the first stage and not needed is free for the second, which has what is left of the time."""
    two = make_call(1, STAGES, at=0.1)
    fast, dear = (Target(name, "t", "m", price=Price(gpu_ms=1.0)) for name in ("fast", "dear"))
    stages = (replace(two.plan.stages[0], target=fast), Stage(dear))
    call, now, found = replace(two, plan=replace(two.plan, stages=stages)), [0.0], []
    for amount, after in ((101.0, 0.0), (101.0, 0.03), (80.0, 0.03), (99.0, 0.0), (60.0, 0.04)):
        till = Till(limit(cost=amount))
        cascade = CascadePolicy(observer, lambda: now[-1], Purses(till.costs))  # type: ignore[arg-type]

        async def core(asked: Call, after: float = after) -> Answer:
            reply = make_answer(asked, {"fast": [0.1], "dear": [1.0]})
            now.append(after)
            paid(asked, 1000 * after if asked.target is fast else 0.0)
            return reply

        async def ask(asked: Call, layer: CascadePolicy = cascade, below: Ask = core) -> Answer:
            return await layer(asked, below)

        now.append(0.0)
        found.append((await till.policy(call, ask)).escalation)
    assert ["fast→dear", "fast→dear", "skipped;budget", "fast→dear", "skipped;budget"] == found


def left_of(till: Till, tenant: str) -> float:
    """Of its sum of 100: negative where more was spent."""
    (account,), (day, ends) = accounts(limit(cost=100.0), Principal("ann", tenant), "digits"), period_of("day", NOON)
    found = till.treasury._accounts.account(Want(f"{account}:{day}", 0.0, 0.0, 100.0, ends), NOON)
    return 100.0 - found.spent - found.held


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.floats(0.01, 0.04), st.integers(0, 9)), min_size=8, max_size=40), st.integers(0, 40))
def test_no_concurrency_overspends_by_more_than_one_reservation(
    make_call: Make, questions: list[tuple[float, int]], quick: int
) -> None:
    """Questions with so much time, answered after so many turns; those that are refused try again. After so many quick answers
    each takes all the time that it has, which nobody could know by those of before."""
    till, spent = Till(limit(cost=100.0)), list[float]()

    async def question(seconds: float, turns: int) -> None:
        async def ask(asked: Call) -> Answer:
            assert asked.bill is not None
            asked.bill.asked()
            for _ in range(turns):
                await asyncio.sleep(0)
            taken = 0.001 if len(spent) < quick else seconds
            spent.append(till.costs.answered("digits", asked.plan.stages[0].target, 1, taken, None))
            asked.bill.pay(spent[-1])
            return answered(asked, spent[-1])

        for _ in range(20):
            try:
                await till.policy(of(timed(make_call(1), seconds), "a"), ask)
            except LimitedError:
                await asyncio.sleep(0)

    async def all_at_once() -> None:
        await asyncio.gather(*(question(*each) for each in questions))

    asyncio.run(all_at_once())
    assert sum(spent) <= 100.0 + 1000 * max(seconds for seconds, _ in questions) + 1e-6
    assert 100.0 - sum(spent) == pytest.approx(left_of(till, "a"), abs=1e-6)
