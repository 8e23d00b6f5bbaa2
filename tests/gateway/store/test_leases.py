"""Leases over a real Redis, and over ones that hang, refuse or talk nonsense: one holder for each key, and nobody held up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.store.address import Address, parse
from gateway.store.leases import HOLD_MS, PREFIX, REFUSED_SECONDS, StoreLease, StoreLeases
from gateway.store.link import Link
from gateway.store.login import Login
from tests.gateway.store.fake_redis import Command, FakeRedis
from tests.real_parts import Redis

pytestmark = pytest.mark.slow

PATIENT = 5.0  # seconds for an answer, where lateness is not what is tested
FAR = float("inf")
LONG = 60_000  # ms that a lease holds where its own end is not what is tested: machines stand still at times
KEY = PREFIX + b"k".hex()  # as redis-cli is told


class Clock:
    """Stands until told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Gate:
    """One gateway's leases."""

    def __init__(self, address: Address, seconds: float = PATIENT, hold: int = LONG) -> None:
        self.link = Link(address, Login(), seconds)
        self.clock = Clock()
        self.leases = StoreLeases(self.link, self.clock, lambda: 0.5, hold, hold)

    async def open(self) -> Gate:
        while not await self.link.attempt():  # half a second is not enough on a busy machine
            pass
        return self

    async def take(self, key: bytes = b"k", until: float = FAR) -> StoreLease | str | None:
        return await self.leases.take(key, until)

    async def lease(self) -> StoreLease:
        taken = await self.take()
        assert isinstance(taken, StoreLease)
        return taken

    async def flushed(self) -> None:
        """Redis has done all that it was sent."""
        assert self.link.connection is not None
        await self.link.connection.ask("PING")


@pytest.fixture(params=[LONG])
async def gates(redis: Redis, request: pytest.FixtureRequest) -> AsyncIterator[list[Gate]]:
    """Two gateways on one Redis."""
    made = [await Gate(parse(redis.url), hold=request.param).open() for _ in range(2)]
    yield made
    assert [0, 0] == [each.leases.held for each in made]
    for each in made:
        each.link.close()


async def told(redis: Redis, *words: str) -> str:
    return await asyncio.to_thread(redis.told, *words)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.001)


async def test_who_waits_hears_of_the_landing(gates: list[Gate], redis: Redis) -> None:
    """And so does whoever comes a moment later; then everything is forgotten."""
    lease = await gates[0].lease()
    waiting = asyncio.ensure_future(gates[1].take())
    await asyncio.sleep(0.02)
    assert not waiting.done()
    lease.release(True)
    assert ("landed", "landed") == (await waiting, await gates[1].take())
    assert await told(redis, "GET", KEY) == ""
    assert int(await told(redis, "PTTL", KEY)) != -1


async def test_a_flight_that_was_given_up_is_another_s(gates: list[Gate]) -> None:
    """Whoever waits has the lease next."""
    lease = await gates[0].lease()
    waiting = asyncio.ensure_future(gates[1].take())
    await asyncio.sleep(0)
    lease.release(False)
    taken = await waiting
    assert isinstance(taken, StoreLease)
    taken.release(False)


async def test_a_lease_is_renewed_while_it_is_held(gates: list[Gate], redis: Redis) -> None:
    """Again and again; seen by its time to live, which the test takes away."""
    lease = await gates[0].lease()
    lease.word = b"mine"
    for _ in range(2):
        await told(redis, "SET", KEY, "mine")
        async with asyncio.timeout(20):
            while await told(redis, "PTTL", KEY) == "-1":  # noqa: ASYNC110 - seen from outside
                await asyncio.sleep(0.005)
    lease.release(False)


SHORT = pytest.mark.parametrize("gates", [HOLD_MS], indirect=True)


@SHORT
async def test_of_a_dead_gateway_it_ends_by_itself(gates: list[Gate]) -> None:
    """Whoever waits has it then."""
    dead = await gates[0].lease()
    gates[0].link.close()
    taken = await gates[1].take()
    assert isinstance(taken, StoreLease)
    taken.release(False)
    dead.release(True)
    assert None is await gates[0].take()


async def test_nobody_ends_or_renews_another_s(gates: list[Gate], redis: Redis) -> None:
    """One who stalled and comes back too late changes nothing."""
    lease = await gates[0].lease()
    await told(redis, "SET", KEY, "another's")
    gates[0].leases._renew()
    await gates[0].flushed()
    lease.release(True)
    await gates[0].flushed()
    assert ("another's", "-1") == (await told(redis, "GET", KEY), await told(redis, "PTTL", KEY))
    await told(redis, "SET", KEY, "another's")
    lease.release(False)
    await gates[0].flushed()
    assert await told(redis, "GET", KEY) == "another's"


@pytest.mark.parametrize("end", [[], ["PX", "3600000"]])
async def test_one_that_lasts_too_long_is_nobody_s(gates: list[Gate], redis: Redis, end: list[str]) -> None:
    """Redis's clock was set back, or somebody else wrote it: nobody waits for it."""
    for value in ("another's", ""):
        await told(redis, "SET", KEY, value, *end)
        (await gates[0].lease()).release(False)


async def test_what_is_on_its_way_goes_first(gates: list[Gate], redis: Redis) -> None:
    """A large answer is packed aside: until it is sent, others wait on, and the lease is renewed; a flight given up has none."""
    packed = list[Callable[[], None]]()
    gates[0].leases.sent = packed.append
    lease = await gates[0].lease()
    lease.release(True)
    await gates[0].flushed()
    assert (1, lease.word.hex()) == (gates[0].leases.held, (await raw(gates[0])).hex())
    packed.pop()()
    assert "landed" == await gates[1].take()
    other = await gates[0].take(b"other")
    assert isinstance(other, StoreLease)
    other.release(False)
    assert 0 == gates[0].leases.held


async def raw(gate: Gate) -> bytes:
    assert gate.link.connection is not None
    found = await gate.link.connection.ask("GET", KEY)
    assert isinstance(found, bytes)
    return found


async def test_waiting_has_an_end(gates: list[Gate], redis: Redis) -> None:
    """None, when the time is over."""
    await told(redis, "SET", KEY, "another's", "PX", "50000")
    waiting = asyncio.ensure_future(gates[0].take(until=1.0))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    gates[0].clock.now = 1.0
    assert None is await waiting


@SHORT
async def test_takers_that_leave_leave_nothing(gates: list[Gate], redis: Redis) -> None:
    """Cancelled at any moment, while asking, waiting or holding."""
    chance = random.Random(5)

    async def one(gate: Gate) -> None:
        taken = await gate.take(chance.choice((b"a", b"b", b"k")))
        if isinstance(taken, StoreLease):
            try:
                await asyncio.sleep(chance.choice((0, 0, 0.002)))
            finally:
                taken.release(chance.random() < 0.2)

    async def left(gate: Gate) -> None:
        taking = asyncio.ensure_future(one(gate))
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(chance.choice((0, 0, 0, 0.001)))
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)

    for _ in range(50):
        await asyncio.gather(*(left(gate) for gate in gates for _ in range(4)))
    await gates[0].flushed()
    await gates[1].flushed()
    await until(lambda: redis.told("DBSIZE") == "0")


async def test_refused_it_is_left_alone_for_a_while(tmp_path: Path) -> None:
    """A full or read-only store costs one round trip a second, and stays in use for what it still does."""
    refusal = b"-OOM command not allowed when used memory > 'maxmemory'\r\n"
    async with FakeRedis(tmp_path, lambda _: refusal) as fake:
        gate = await Gate(fake.address).open()
        assert [None] * 3 == [await gate.take() for _ in range(3)]
        assert (1, True) == (len(fake.heard), gate.link.up)
        gate.clock.now = REFUSED_SECONDS
        assert None is await gate.take()
        assert 2 == len(fake.heard)
        gate.link.close()


@pytest.mark.parametrize("nonsense", [b"$2\r\nOK\r\n", b":7\r\n", b"*1\r\n:2\r\n", b"$-1\r\n"])
async def test_nonsense_ends_the_connection(tmp_path: Path, nonsense: bytes) -> None:
    """Whoever asked goes on alone."""
    async with FakeRedis(tmp_path, lambda _: nonsense) as fake:
        gate = await Gate(fake.address).open()
        assert None is await gate.take()
        assert not gate.link.up


async def test_hung_it_holds_up_one_moment(tmp_path: Path) -> None:
    """Whoever was asking is told after the link's limit, and nobody asks then."""
    async with FakeRedis(tmp_path, lambda _: None) as fake:
        gate = await Gate(fake.address, 0.02).open()
        assert [None] * 5 == await asyncio.gather(*(gate.take() for _ in range(5)))
        assert (None, False) == (await gate.take(), gate.link.up)


async def test_a_lease_that_comes_when_nobody_wants_it_is_given_back(tmp_path: Path) -> None:
    """Its taker left while Redis was being asked."""
    asked = asyncio.Event()

    def answer(command: Command) -> bytes | None:
        asked.set()
        return b":2\r\n" if len(fake.heard) > 1 else None  # the first is answered with the second

    async with FakeRedis(tmp_path, answer) as fake:
        gate = await Gate(fake.address).open()
        taking = asyncio.ensure_future(gate.take())
        await asked.wait()
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        assert 0 == gate.leases.held
        last = asyncio.ensure_future(gate.take(b"other"))
        await until(lambda: len(fake.heard) > 2)
        assert [KEY, PREFIX + b"other".hex(), KEY] == [each[3].decode() for each in fake.heard[:3]]
        assert fake.heard[0][4] == fake.heard[2][4]
        taken = await last
        assert (1, True) == (gate.leases.held, isinstance(taken, StoreLease))  # its own alone
        gate.link.close()
