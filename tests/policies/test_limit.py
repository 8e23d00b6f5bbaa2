"""Tests of policies.limit: counted once, given back however it ends, and nothing at all for those it does not bind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import pytest
from msgspec.structs import replace

from backends.errors import ErrorKind
from policies.call import Answer, Call, Counted, LimitedError, Quota
from policies.limit import REMEMBERED, LimitPolicy, LocalMeter
from routing.demand import Demand, Verdict
from routing.limits import Allowance, Bound, Limit
from routing.principal import Principal

REQUESTS = Limit("free", Bound(tiers=frozenset({"free"})), "tenant", (Allowance("requests", 2, 1.0),))
AT_ONCE = Limit("wide", Bound(), "", (Allowance("concurrency", 1),))
BYTES = Limit("heavy", Bound(), "subject", (Allowance("bytes", 1000, 100.0),))
ANSWER = Answer(None, (), 1.0, 0.0)  # type: ignore[arg-type]  # nobody looks at the response

Made = Callable[..., Call]


@pytest.fixture
def of(make_call: Made) -> Callable[..., Call]:
    """A call of a principal of a tier."""

    def made(tier: str = "free", size: int = 0, **who: str) -> Call:
        return replace(make_call(), principal=Principal(who.get("subject", "ann"), who.get("tenant", "acme"), tier), size=size)

    return made


class Clock:
    """Goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def answering(_: Call) -> Answer:
    return ANSWER


async def test_counted(of: Made) -> None:
    """Each question costs one of its tenant's; the answer says what is left, the refusal when to come back."""
    clock, refused = Clock(), list[str]()
    policy = LimitPolicy([REQUESTS], LocalMeter(clock), refused.append)
    answers = [await policy(of(), answering) for _ in range(2)]
    assert [1, 0] == [each.quota.verdict.remaining for each in answers if each.quota]
    with pytest.raises(LimitedError) as limited:
        await policy(of(subject="bob"), answering)
    error = limited.value
    assert (ErrorKind.LIMITED, "limited", "client", 1.0) == (
        error.kind,
        error.reason,
        error.source,
        round(error.retry_after or 0, 6),
    )
    assert "limit 'free' has no requests left: try again in 1 s" == error.message
    assert (Counted("free", "requests", 2, 2),) == error.quota.counted
    assert ["free"] == refused
    assert (await policy(of(tenant="other"), answering)).quota
    clock.now += 1
    assert (await policy(of(), answering)).quota


async def test_nobody_else_is_touched(of: Made) -> None:
    """A question that no limit binds goes straight on: the layers below are asked by the very same call."""
    policy = LimitPolicy([REQUESTS], LocalMeter(Clock()), list[str]().append)
    given: list[Call] = []

    def ask(call: Call) -> Awaitable[Answer]:
        given.append(call)
        return answering(call)

    call = of("gold")
    waiting = policy(call, ask)
    assert [call] == given  # at once: there is no layer to await
    assert (await waiting) is ANSWER


@pytest.mark.parametrize("ending", ["answered", "failed", "cancelled"])
async def test_given_back(of: Made, ending: str) -> None:
    """Answered, failed or left: what is held at the same time is free again, once."""
    policy = LimitPolicy([AT_ONCE], LocalMeter(Clock()), list[str]().append)
    going, let_go = asyncio.Event(), asyncio.Event()

    async def ask(_: Call) -> Answer:
        going.set()
        await let_go.wait()
        if ending == "failed":
            raise RuntimeError
        return ANSWER

    task = asyncio.ensure_future(policy(of(), ask))
    await going.wait()
    with pytest.raises(LimitedError, match="allows 1 requests at the same time") as limited:
        await policy(of(), answering)
    assert 1.0 == limited.value.retry_after
    if ending == "cancelled":
        task.cancel()
    let_go.set()
    await asyncio.wait([task])
    assert (await policy(of(), answering)).quota
    assert (await policy(of(), answering)).quota


async def test_bytes(of: Made) -> None:
    """A question costs as many as it has; one larger than all that fits passes when nothing is owed, and is paid for after."""
    clock = Clock()
    policy = LimitPolicy([BYTES], LocalMeter(clock), list[str]().append)
    await policy(of(size=900), answering)
    with pytest.raises(LimitedError, match="'heavy' has no bytes left"):
        await policy(of(size=101), answering)
    assert 0 == (await policy(of(size=100), answering)).quota.verdict.remaining  # type: ignore[union-attr]
    clock.now += 10
    await policy(of(size=3000), answering)
    clock.now += 19
    with pytest.raises(LimitedError) as limited:
        await policy(of(size=1000), answering)
    assert 11 == round(limited.value.retry_after or 0)


async def test_all_limits_hold_together(of: Made) -> None:
    """The one that refuses is told, and costs the others nothing."""
    refused = list[str]()
    policy = LimitPolicy([BYTES, REQUESTS], LocalMeter(Clock()), refused.append)
    first = await policy(of(size=10), answering)
    assert first.quota is not None
    assert ["heavy", "free"] == [each.limit for each in first.quota.counted]
    assert 1 == first.quota.verdict.told  # half of it is gone
    await policy(of(size=10), answering)
    for _ in range(10):
        with pytest.raises(LimitedError, match="free"):
            await policy(of(size=100), answering)
    assert ["free"] * 10 == refused
    assert 979 == (await policy(of("gold"), answering)).quota.verdict.remaining  # type: ignore[union-attr]


async def test_streams(of: Made) -> None:
    """A question with many answers counts once, and is in flight until the last of them or until it is left."""
    policy = LimitPolicy([AT_ONCE, REQUESTS], LocalMeter(Clock()), list[str]().append)

    closed: list[bool] = []

    async def three(call: Call) -> AsyncGenerator[Answer, None]:
        try:
            for _ in range(3):
                yield ANSWER
        finally:
            closed.append(True)

    answers = [each async for each in policy.stream(of(), three)]
    assert [0, 0, 0] == [each.quota.verdict.remaining for each in answers if each.quota]
    begun = policy.stream(of(), three)
    await anext(begun)
    with pytest.raises(LimitedError):
        await anext(policy.stream(of("gold"), three))
    await begun.aclose()
    assert 2 == len(closed)  # then, and not when memory is tidied
    assert 3 == len([each async for each in policy.stream(of("gold"), three)])
    with pytest.raises(LimitedError, match="'free'"):
        await anext(policy.stream(of(), three))
    unlimited = LimitPolicy([REQUESTS], LocalMeter(Clock()), list[str]().append)
    assert [ANSWER] * 3 == [each async for each in unlimited.stream(of("gold"), three)]


class Far:
    """A meter that takes its time."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self.given_back = 0

    def take(self, demands: Sequence[Demand]) -> Awaitable[Verdict]:
        self.asked.set()
        return self.answer

    def give_back(self, demands: Sequence[Demand]) -> None:
        self.given_back += 1


async def test_a_meter_that_is_waited_for(of: Made) -> None:
    """Nothing is asked before its verdict; who leaves meanwhile holds nothing here, and gives nothing back."""
    meter = Far()
    policy = LimitPolicy([AT_ONCE], meter, list[str]().append)
    task = asyncio.ensure_future(policy(of(), answering))
    await meter.asked.wait()
    task.cancel()
    await asyncio.wait([task])
    assert 0 == meter.given_back
    meter.answer = asyncio.get_running_loop().create_future()
    meter.answer.set_result(Verdict(None, 0.0, 0, 1.0, 0))
    assert (await policy(of(), answering)).quota
    assert 1 == meter.given_back
    meter.answer = asyncio.get_running_loop().create_future()
    meter.answer.set_result(Verdict(0, 1.0, 0, 1.0, 0))
    with pytest.raises(LimitedError):
        await policy(of(), answering)
    assert 1 == meter.given_back


def test_who_can_be_told_at_once(of: Made) -> None:
    """What they pay, where this process alone counts it and gets nothing of it back; None where nothing binds them."""
    policy = LimitPolicy([REQUESTS], LocalMeter(Clock()), list[str]().append)
    assert policy.toll(of("gold")) is None
    assert policy.toll(of())
    assert False is LimitPolicy([REQUESTS, AT_ONCE], LocalMeter(Clock()), list[str]().append).toll(of())


async def test_who_can_only_be_told_later(of: Made) -> None:
    """Whoever shares the count."""
    assert False is LimitPolicy([REQUESTS], Far(), list[str]().append).toll(of())


async def test_what_is_paid_at_once(of: Made) -> None:
    """As much as asking takes, and nothing where it is too little; who has paid so is counted no more, but told."""
    policy = LimitPolicy([REQUESTS, BYTES], LocalMeter(Clock()), list[str]().append)
    toll = policy.toll(of(size=600))
    assert toll
    paid = toll.pay()
    assert paid is not None
    assert (("free", "heavy"), 1, 400) == (tuple(each.limit for each in toll.counted), paid.told, paid.remaining)
    assert toll.pay() is None
    quota = Quota(toll.counted, paid)
    assert (await policy(replace(of(size=600), quota=quota), answering)).quota == quota
    below = Quota((Counted("purse", "cost", 100, 0),), Verdict(None, 0.0, 10, 1.0, 0))

    async def spending(_: Call) -> Answer:
        return replace(ANSWER, quota=below)

    both = (await policy(replace(of(size=600), quota=quota), spending)).quota
    assert both == Quota((*toll.counted, *below.counted), replace(below.verdict, told=2))
    last = (await policy(of(size=400), answering)).quota
    assert last is not None
    assert 0 == last.verdict.remaining


async def test_hostile_numbers_of_principals(of: Made) -> None:
    """What is remembered of principals is bounded, and forgetting it changes no count."""
    policy = LimitPolicy([REQUESTS], LocalMeter(Clock()), list[str]().append)
    for _ in range(2):
        await policy(of(subject="first"), answering)
    for number in range(REMEMBERED + 10):
        await policy(of("gold", subject=f"s{number}"), answering)
    assert len(policy._known) <= REMEMBERED
    with pytest.raises(LimitedError):
        await policy(of(subject="first"), answering)


@pytest.mark.parametrize(("processes", "passed"), [(1, 20), (3, 7), (4, 5), (40, 1)])
def test_a_share(processes: int, passed: int) -> None:
    """Of several processes each allows its part, rounded up, and no faster than its part of the rate."""
    clock = Clock()
    meter = LocalMeter(clock, processes)
    demands = (Demand("k", "requests", 1, 10.0, 20),)
    assert passed == sum(meter.take(demands).limited is None for _ in range(50))
    clock.now += processes / 10 - 0.001
    assert 0 == meter.take(demands).limited
    clock.now += 0.002
    assert meter.take(demands).limited is None
    held = (Demand("c", "concurrency", 1, 0.0, 20),)
    assert passed == sum(meter.take(held).limited is None for _ in range(50))
    meter.give_back(held)
    assert meter.take(held).limited is None


@pytest.mark.parametrize(("processes", "passed"), [(1, 2), (2, 1)])
def test_a_share_of_what_is_paid_at_once(of: Made, processes: int, passed: int) -> None:
    """The same."""
    toll = LimitPolicy([REQUESTS], LocalMeter(Clock(), processes), list[str]().append).toll(of())
    assert toll
    assert passed == sum(toll.pay() is not None for _ in range(50))
