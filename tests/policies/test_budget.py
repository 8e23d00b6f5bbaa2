"""Tests of policies.budget: reserved before anybody is asked, settled afterwards, whatever becomes of the question."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from policies.budget import LocalTreasury
from policies.call import Answer, Call, LimitedError
from policies.cascade import CascadePolicy
from policies.purse import Purses
from routing.budgets import Want, period_of
from routing.limits import Bound, accounts
from routing.plan import Stage, Target
from routing.price import Price
from tests.policies.till import NOON, STAGES, Make, Reply, Till, answered, limit, never, of, paid


async def test_a_budget_is_spent_to_the_last_and_begins_anew(make_call: Make) -> None:
    """40 a row; each tenant has its own. The next day there is as much again."""
    till, call = Till(limit(cost=100.0)), make_call(1, (("dear", None),))
    found = [await till.fits(of(call, tenant), 40.0) for tenant in ("a", "a", "a", "b")]
    assert [True, True, False, True] == found
    assert ["own"] == till.refused
    till.now += 43_200
    assert await till.fits(of(call, "a"), 40.0)


async def test_a_price_that_nobody_knows_yet_is_not_free(make_call: Make) -> None:
    """A process that has just begun lets nobody through to a variant that is paid by time alone who has spent everything."""
    till, call = Till(limit(cost=40.0)), of(make_call(1, (("dear", None),)), "a")
    assert await till.fits(call, 40.0)
    by_time = Target("timed", "t", "m", cost=0.0, price=Price(gpu_ms=0.5))
    assert not await till.fits(replace(call, plan=replace(call.plan, stages=(Stage(by_time),))), 20.0)


async def test_a_refusal_says_what_to_do(make_call: Make) -> None:
    """429: why, when it begins anew, what is left; and what of it could still be asked."""
    till, call = Till(limit(cost=100.0)), of(make_call(1, (("dear", None),)), "a")
    assert [True, True] == [await till.fits(call, 40.0) for _ in range(2)]
    with pytest.raises(LimitedError) as refused:
        await till.policy(call, never)
    error = refused.value
    assert (ErrorKind.LIMITED, 43_200.0) == (error.kind, error.retry_after)
    assert "has spent its cost of 100 a day, of which 20 is left, and this question costs 40" in error.message
    assert "again at 2026-11-22T00:00Z" in error.message
    assert (0, 20, 43_200.0) == (error.quota.verdict.limited, error.quota.verdict.remaining, error.quota.verdict.reset)
    with pytest.raises(LimitedError, match="this question alone costs 200: ask for fewer rows"):
        await till.policy(of(make_call(5, (("dear", None),)), "b"), never)


async def test_what_is_only_reserved_is_free_again_soon(make_call: Make) -> None:
    """Who comes while all is reserved is told to come back in a second, not tomorrow."""
    till, call, go = Till(limit(cost=100.0)), make_call(2, (("dear", None),)), asyncio.Event()

    async def ask(asked: Call) -> Answer:
        await go.wait()
        paid(asked, 1.0)
        return answered(asked, 1.0)

    waiting = asyncio.ensure_future(till.policy(call, ask))
    await asyncio.sleep(0)
    with pytest.raises(LimitedError, match="reserved for questions in flight") as refused:
        await till.policy(call, never)
    assert 1.0 == refused.value.retry_after
    go.set()
    await waiting
    assert await till.fits(call, 80.0)


async def test_whatever_ends_a_question_settles_it(make_call: Make) -> None:
    """An error costs what was paid until then; who leaves before anybody is asked has spent nothing."""
    till, call = Till(limit(cost=40.0)), make_call(1, (("dear", None),))

    async def fails(asked: Call) -> Answer:
        paid(asked, 1.5)
        raise InferenceError(ErrorKind.BROKEN, "no")

    with pytest.raises(InferenceError):
        await till.policy(call, fails)
    assert not await till.fits(call, 40.0)
    till.now += 86_400
    leaving = asyncio.ensure_future(till.policy(call, _forever))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert await till.fits(call, 40.0)


async def _forever(call: Call) -> Answer:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_flight_that_goes_on_belongs_to_its_bill(make_call: Make) -> None:
    """Who began it has left; it is settled when it lands, at once, in the same period."""
    till, call = Till(limit(cost=50.0)), make_call(1, (("dear", None),))
    flights: list[Call] = []

    async def begin(asked: Call) -> Answer:
        assert asked.bill is not None
        asked.bill.asked()
        flights.append(asked)
        return answered(asked, 0.0)

    await till.policy(call, begin)
    assert not await till.fits(call, 40.0)
    assert flights[0].bill is not None
    flights[0].bill.pay(0.5)
    assert await till.fits(call, 40.0)


async def test_near_the_end_rows_keep_the_answer_they_have(make_call: Make, make_answer: Reply, observer: object) -> None:
    """A cascade is answered by its first stage while that can be paid, and says so; a cascade has a share, too."""
    till = Till(limit(cost=60.0))
    purses = Purses(till.costs)
    cascade = CascadePolicy(observer, lambda: 0.0, purses)  # type: ignore[arg-type]

    async def core(asked: Call) -> Answer:
        found = make_answer(asked, {"fast": [0.1, 0.1], "dear": [1, 1]})
        paid(asked, found.cost)
        return found

    async def ask(asked: Call) -> Answer:
        return await cascade(asked, core)

    escalations = [(await till.policy(make_call(1, STAGES), ask)).escalation for _ in range(3)]
    assert ["fast→dear", "skipped;budget", "skipped;budget"] == escalations
    plain = make_call(1, STAGES)
    shared = replace(plain, plan=replace(plain.plan, budget=1 / 256))
    assert ["fast→dear", "fast→dear", "skipped;budget"] == [(await cascade(shared, core)).escalation for _ in range(3)]


async def test_rows_sent_up_are_a_budget_of_their_own(make_call: Make, make_answer: Reply, observer: object) -> None:
    """It refuses nobody: who has spent it is answered by the first stage."""
    till = Till(limit(escalations=3.0))
    cascade = CascadePolicy(observer, lambda: 0.0, Purses(till.costs))  # type: ignore[arg-type]

    async def core(asked: Call) -> Answer:
        found = make_answer(asked, {"fast": [0.1, 0.95], "dear": [1, 1]})
        paid(asked, found.cost)
        return found

    async def ask(asked: Call) -> Answer:
        return await cascade(asked, core)

    found = [(await till.policy(make_call(2, STAGES), ask)).escalation for _ in range(4)]
    assert ["fast→dear"] * 3 + ["skipped;budget"] == found
    assert [] == till.refused


async def test_streams_are_paid_when_they_end(make_call: Make) -> None:
    """Whenever their client leaves."""
    till, call = Till(limit(cost=40.0)), make_call(1, (("dear", None),))

    async def stream(asked: Call) -> AsyncGenerator[Answer, None]:
        assert asked.bill is not None
        asked.bill.asked()
        try:
            yield answered(asked, 40.0)
            yield answered(asked, 0.0)
        finally:
            asked.bill.pay(40.0)

    answers = till.policy.stream(call, stream)
    assert (await anext(answers)).quota is not None
    await answers.aclose()
    with pytest.raises(LimitedError):
        await anext(till.policy.stream(call, stream))


async def test_questions_that_no_budget_counts_pass_as_they_are(make_call: Make) -> None:
    """Nothing is put round them."""
    call = make_call()

    async def ask(asked: Call) -> Answer:
        assert asked is call
        return answered(asked, 1.0)

    await Till(replace(limit(cost=1.0), bound=Bound(tiers=frozenset({"free"})))).policy(call, ask)


class Crowd:
    """Questions that all come at once, and what was spent on them."""

    def __init__(self) -> None:
        self.till = Till(limit(cost=100.0))
        self.spent = 0.0

    async def question(self, rows: int, ending: str, part: float) -> None:
        """It takes a while, and uses a part of what it may."""

        async def ask(asked: Call) -> Answer:
            assert asked.bill is not None
            asked.bill.asked()
            cost = 0.0
            try:
                for _ in range(int(part * 5)):
                    await asyncio.sleep(0)
                if ending == "error":
                    raise InferenceError(ErrorKind.BROKEN, "no")
                cost = part * 40 * rows
            finally:
                self.spent += cost
                asked.bill.pay(cost)
            return answered(asked, cost)

        try:
            await self.till.policy(CALLS[rows], ask)
        except InferenceError as error:
            error.ended()

    async def run(self, questions: list[tuple[int, str, float]]) -> None:
        """Some leave while others run."""
        tasks = [asyncio.ensure_future(self.question(*each)) for each in questions]
        for task, (_, ending, _) in zip(tasks, questions, strict=True):
            if ending == "leave":
                await asyncio.sleep(0)
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["ok", "error", "leave"]), st.floats(0, 1)), min_size=1, max_size=30)
)
def test_no_concurrency_overspends(questions: list[tuple[int, str, float]]) -> None:
    """All at once, ending in any order in any way: spent is at most the sum, and is known exactly."""
    crowd = Crowd()
    asyncio.run(crowd.run(questions))
    assert crowd.spent <= 100.0 + 1e-6
    (account,), (day, ends) = accounts(limit(cost=100.0), CALLS[1].principal, "digits"), period_of("day", NOON)
    left = crowd.till.treasury.take([Want(f"{account}:{day}", 0.0, 0.0, 100.0, ends)]).left
    assert 100.0 - crowd.spent == pytest.approx(left[0], abs=1e-6)


CALLS: dict[int, Call] = {}


@pytest.fixture(autouse=True)
def _calls(make_call: Make) -> None:
    CALLS.update({rows: make_call(rows, (("dear", None),)) for rows in (1, 2, 3)})


def test_of_several_processes_each_has_its_part() -> None:
    """Without a store that they share."""
    treasury = LocalTreasury(lambda: NOON, processes=4)
    asked = [Want("a", 10.0, 30.0, 100.0, NOON + 60)]
    assert [(25.0,), ()] == [treasury.take(asked).amounts for _ in range(2)]
