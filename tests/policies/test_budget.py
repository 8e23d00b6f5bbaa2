"""Tests of policies.budget: reserved before anybody is asked, settled afterwards, whatever becomes of the question."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceResponse, Tensors
from policies.budget import BudgetPolicy, LocalTreasury
from policies.call import Answer, Ask, Call, LimitedError
from policies.cascade import CascadePolicy
from policies.purse import Purses
from routing.budgets import Budget, Sum, Want, period_of
from routing.cost import Costs
from routing.limits import Bound, Limit, accounts
from routing.plan import Stage, Target
from routing.price import Price
from routing.principal import Principal

Make = Callable[..., Call]
Reply = Callable[[Call, dict[str, list[float]]], Answer]
NOON = 1_795_262_400.0  # 2026-11-21T12:00:00Z
STAGES = (("fast", 0.9), ("dear", None))


def limit(cost: float = 0.0, escalations: float = 0.0, per: str = "tenant", name: str = "own") -> Limit:
    """Of a day."""
    found = [("cost", cost), ("escalations", escalations)]
    return Limit(name, Bound(), per, (), tuple(Budget(kind, Sum(sum_, "day")) for kind, sum_ in found if sum_))  # type: ignore[arg-type]


class Till:
    """A policy over one clock, and what was told of refusals."""

    def __init__(self, *limits: Limit, costs: Costs | None = None) -> None:
        self.now = NOON
        self.costs = costs or Costs()
        self.refused: list[str] = []
        self.treasury = LocalTreasury(lambda: self.now)
        self.policy = BudgetPolicy(limits, self.treasury, self.costs, lambda: self.now, self.refused.append)

    async def fits(self, call: Call, cost: float) -> bool:
        """Whether a question was let through that cost so much then."""

        async def ask(asked: Call) -> Answer:
            paid(asked, cost)
            return answered(asked, cost)

        try:
            await self.policy(call, ask)
        except LimitedError:
            return False
        return True


def paid(call: Call, cost: float) -> None:
    """As the core tells it."""
    if call.bill is not None:
        call.bill.asked()
        call.bill.pay(cost)


def answered(call: Call, cost: float) -> Answer:
    """One with nothing in it."""
    return Answer(InferenceResponse("m", "1", "", {}, Tensors(())), (), cost, 0.0)


def of(call: Call, tenant: str) -> Call:
    """The same, of another tenant."""
    return replace(call, principal=Principal("ann", tenant))


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
            await till.policy(call, _never)
        paid(asked, 3.0)
        return answered(asked, 3.0)

    await till.policy(call, ask)
    assert await till.fits(call, 1000.0)  # it cannot have taken so long: this process stood still
    assert -21.0 == pytest.approx(left_of(till, "a"))
    with pytest.raises(LimitedError, match="has spent its cost"):
        await till.policy(call, _never)


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


async def test_a_refusal_says_what_to_do(make_call: Make) -> None:
    """429: why, when it begins anew, what is left; and what of it could still be asked."""
    till, call = Till(limit(cost=100.0)), of(make_call(1, (("dear", None),)), "a")
    assert [True, True] == [await till.fits(call, 40.0) for _ in range(2)]
    with pytest.raises(LimitedError) as refused:
        await till.policy(call, _never)
    error = refused.value
    assert (ErrorKind.LIMITED, 43_200.0) == (error.kind, error.retry_after)
    assert "has spent its cost of 100 a day, of which 20 is left, and this question costs 40" in error.message
    assert "again at 2026-11-22T00:00Z" in error.message
    assert (0, 20, 43_200.0) == (error.quota.verdict.limited, error.quota.verdict.remaining, error.quota.verdict.reset)
    with pytest.raises(LimitedError, match="this question alone costs 200: ask for fewer rows"):
        await till.policy(of(make_call(5, (("dear", None),)), "b"), _never)


async def _never(call: Call) -> Answer:
    raise AssertionError("nobody is asked")


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
        await till.policy(call, _never)
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
