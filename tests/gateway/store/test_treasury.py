"""Tests of gateway.store.treasury: gateways that share a real Redis spend one budget together, lose it, and come back to it."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from gateway.store.address import parse
from gateway.store.link import Link
from gateway.store.login import Login
from gateway.store.treasury import SharedTreasury
from gateway.store.trouble import StoreError
from routing.budgets import Grant, Want
from tests.real_parts import Redis

pytestmark = pytest.mark.slow

NOW = 1_795_262_400.0
PATIENT = 5.0  # seconds for an answer, where lateness is not what is tested
MANY, EACH, AMOUNT = 3, 400, 500.0


class Unheard:
    """An Observer."""

    def stored(self, outcome: str, seconds: float) -> None:
        """Nobody counts."""


class Gate:
    """One gateway's treasury."""

    def __init__(self, url: str, gateways: int = 1) -> None:
        self.link = Link(parse(url), Login(), PATIENT)
        self.treasury = SharedTreasury(self.link, Unheard(), lambda: gateways, lambda: NOW)

    async def take(self, wants: Sequence[Want]) -> Grant:
        """The grant, awaited where it must be."""
        found = self.treasury.take(wants)
        return found if isinstance(found, Grant) else await found

    async def left(self, want: Want) -> float:
        """Of the account, once all that was sent is done."""
        return (await self.take([Want(want.key, 0.0, 0.0, want.amount, want.ends)])).left[0]


def want(key: str = "acme", least: float = 1.0, most: float = 10.0, amount: float = 100.0) -> Want:
    """Of this period."""
    return Want(key, least, most, amount, NOW + 600)


Open = Callable[..., Awaitable[Gate]]


@pytest.fixture
async def gate(redis: Redis) -> AsyncIterator[Open]:
    """Opens gateways on one Redis."""
    opened: list[Gate] = []

    async def begin(gateways: int = 1, connected: bool = True) -> Gate:
        opened.append(Gate(redis.url, gateways))
        if connected:
            await opened[-1].link.attempt()
        return opened[-1]

    yield begin
    for each in opened:
        each.link.close()


async def test_two_gateways_spend_one_budget(gate: Open) -> None:
    """What one has reserved the other lacks, and gets when it is settled; all or nothing over several budgets."""
    one, two = await gate(), await gate()
    first = await one.take([want(most=98.0)])
    assert ((98.0,), (2.0,)) == (first.amounts, first.left)
    second = await two.take([want("all", 5.0, 5.0), want(least=5.0)])
    assert (1, False) == (second.refused, second.spent)
    assert 100.0 == await two.left(want("all"))
    one.treasury.settle([want()], first, [97.5])
    assert 2.5 == await one.left(want())
    third = await two.take([want(least=5.0)])
    assert (0, True, (2.5,)) == (third.refused, third.spent, third.left)


async def test_who_leaves_while_the_store_is_asked_holds_nothing(gate: Open) -> None:
    """Neither before the answer comes nor in the turn in which it does."""
    one = await gate()
    for turns in range(4):
        asking = asyncio.ensure_future(one.take([want("leaves", 40.0, 40.0)]))
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        if not asking.cancelled():
            one.treasury.settle([want("leaves")], asking.result(), [0.0])
    await one.left(want("leaves"))  # all answers that nobody waits for have come before this one, and were settled
    assert 100.0 == await one.left(want("leaves"))


async def test_alone_a_gateway_spends_its_part_of_what_was_left(gate: Open, redis: Redis) -> None:
    """Half of it, of two; when the store is back it is told what was spent meanwhile, and what was reserved before."""
    one, two = await gate(gateways=2), await gate(gateways=2)
    held = await one.take([want(least=40.0, most=40.0)])
    assert one.link.connection is not None
    one.link.connection.fail(_away())
    found = [await one.take([want(least=10.0, most=10.0)]) for _ in range(4)]
    assert [True, True, True, False] == [each.refused is None for each in found]
    assert "" == found[0].name
    for each in found[:3]:
        one.treasury.settle([want()], each, [9.0])
    one.treasury.settle([want()], held, [25.0])
    assert 60.0 == await two.left(want())
    await one.link.attempt()
    assert 100.0 - 3 * 9 - 25 == await one.left(want())


def _away() -> StoreError:
    return StoreError("closed", "gone")


async def test_what_nobody_has_confirmed_is_settled_once(gate: Open) -> None:
    """A connection is lost behind a grant that is on its way, and behind settlements: all of it is free again, and paid once."""
    one = await gate()
    wants = [want("lost", 40.0, 40.0), want("also lost", 0.0, 0.0)]
    for lost in (True, False):
        held = await one.take(wants)
        asking = asyncio.ensure_future(one.take(wants))
        await asyncio.sleep(0)
        assert one.link.connection is not None
        one.treasury.settle(wants, held, [7.0, 3.0])
        if lost:
            one.link.connection.fail(_away())  # before anything is sent
        else:
            await asyncio.sleep(0)
            one.link.connection.fail(_away())  # Redis may have it all, or nothing
        alone = await asking
        one.treasury.settle(wants, alone, [0.0, 0.0])
        await one.link.attempt()
    assert (86.0, 94.0) == (await one.left(want("lost")), await one.left(want("also lost")))


async def test_garbage_is_no_answer(gate: Open, redis: Redis) -> None:
    """An account that somebody has spoilt ends the connection, and the gateway decides alone."""
    one = await gate()
    await one.take([want("spoilt")])
    assert one.link.connection is not None
    names = await one.link.connection.ask("KEYS", "*spent*")
    assert isinstance(names, list)
    for name in names:  # that of the greeting may be there still
        await one.link.connection.ask("HSET", name, "spent", "-1")
    assert "" == (await one.take([want("spoilt")])).name
    assert one.link.connection is None


def spend(url: str, seed: int, sent: multiprocessing.queues.Queue[tuple[float, int]]) -> None:
    """One gateway's process: questions of random cost, many at once, some of which are left."""

    async def run() -> None:
        chance, one = random.Random(seed), Gate(url)
        await one.link.attempt()
        spent, refused = 0.0, 0

        async def question() -> None:
            nonlocal spent, refused
            most = chance.choice((1.0, 3.0, 7.0))
            asked = [want("many", most / 2, most, AMOUNT)]
            grant = await one.take(asked)
            if grant.refused is not None:
                refused += 1
                return
            used = 0.0
            try:
                await asyncio.sleep(chance.random() / 100)
                used = grant.amounts[0] * chance.choice((0.25, 1.0))
            finally:
                spent += used
                one.treasury.settle(asked, grant, [used])

        tasks = [asyncio.ensure_future(question()) for _ in range(EACH)]
        await asyncio.sleep(0.004)
        for task in tasks[::7]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await one.left(want("many", amount=AMOUNT))  # what was sent before has been done
        sent.put((spent, refused))

    asyncio.run(run())


async def test_several_processes_never_overspend(gate: Open, redis: Redis) -> None:
    """Hundreds of questions at once in each, left, ended or refused: spent is what the account says, and its sum at most."""
    context = multiprocessing.get_context("spawn")
    sent = context.Queue()
    processes = [context.Process(target=spend, args=(redis.url, seed, sent)) for seed in range(MANY)]
    for process in processes:
        process.start()
    told = [await asyncio.to_thread(sent.get, timeout=60) for _ in processes]
    for process in processes:
        await asyncio.to_thread(process.join, 30)
    spent = sum(each for each, _ in told)
    one = await gate()
    assert AMOUNT - spent == pytest.approx(await one.left(want("many", amount=AMOUNT)))
    assert spent <= AMOUNT * (1 + 1e-9)
    assert any(refused for _, refused in told), "or nothing was at stake"
