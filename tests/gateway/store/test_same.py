"""Asking the store once more for what was read there: it says yes for that very answer, and for nothing else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.store import answer_scripts
from gateway.store.address import parse
from gateway.store.same import Same
from policies.call import Kept
from routing.cache.caching import Purge
from tests.gateway.store.fake_redis import Command, FakeRedis
from tests.gateway.store.gate import Gate, answer, key, two
from tests.real_parts import Redis

pytestmark = pytest.mark.slow

KEY = answer_scripts.stored(key(1))


@pytest.fixture
async def gates(redis: Redis) -> AsyncIterator[tuple[Gate, Gate]]:
    """Two on a real Redis, of which the other has no memory."""
    async with two(parse(redis.url), room=8) as made:
        yield made


async def found(gates: tuple[Gate, Gate]) -> tuple[Kept, Same]:
    """What one has kept, as the other finds it, and its way to ask for it once more."""
    one, other = gates
    one.keep(key(1), key(2))
    await one.settled()
    before = other.store.generation
    (kept,) = await other.find(key(1))
    assert kept is not None
    same = other.store.same(kept, before)
    assert same is not None
    other.told.clear()
    return kept, same


async def heard(same: Same) -> bool:
    """What the store says."""
    said = asyncio.get_running_loop().create_future()
    same.ask(said.set_result)
    async with asyncio.timeout(10):
        return bool(await said)


async def test_what_was_found_is_there(gates: tuple[Gate, Gate]) -> None:
    """As often as it is asked for; each is a trip, and an answer that was found."""
    _, same = await found(gates)
    for _ in range(3):
        assert same.open()
        assert [True, True] == list(await asyncio.gather(heard(same), heard(same)))
    assert Counter(ok=6, found=6) == gates[1].told


async def again(gates: tuple[Gate, Gate], redis: Redis) -> None:
    """The same question, answered anew."""
    gates[0].now += 1
    gates[0].store.keep([replace(answer(key(1), gates[0].now, 41, 50.0), seconds=0.2)], gates[0].now + 60)


async def another(gates: tuple[Gate, Gate], redis: Redis) -> None:
    redis.told("RENAME", answer_scripts.stored(key(2)), KEY)


async def gone(gates: tuple[Gate, Gate], redis: Redis) -> None:
    redis.told("DEL", KEY)


async def over(gates: tuple[Gate, Gate], redis: Redis) -> None:
    redis.told("PEXPIRE", KEY, "0")


async def cut_off(gates: tuple[Gate, Gate], redis: Redis) -> None:
    redis.told("SETRANGE", KEY, "5", "x")


async def of_another_kind(gates: tuple[Gate, Gate], redis: Redis) -> None:
    redis.told("DEL", KEY)
    redis.told("HSET", KEY, "a", "b")


async def flushed(gates: tuple[Gate, Gate], redis: Redis) -> None:
    redis.told("FLUSHALL")


async def purged_elsewhere(gates: tuple[Gate, Gate], redis: Redis) -> None:
    gates[0].store.purge(Purge(model="letters"), gates[0].now)
    assert await gates[0].store.told()


async def purges_forgotten(gates: tuple[Gate, Gate], redis: Redis) -> None:
    redis.told("HSET", answer_scripts.STATE, "stamp", "99 0")


@pytest.mark.parametrize(
    "happens", [again, another, gone, over, cut_off, of_another_kind, flushed, purged_elsewhere, purges_forgotten]
)
async def test_what_is_not_the_same_any_more(
    gates: tuple[Gate, Gate], redis: Redis, happens: Callable[[tuple[Gate, Gate], Redis], Awaitable[None]]
) -> None:
    """Another answer or none, or purges that this gateway has not heard of; the connection is none the worse."""
    _, same = await found(gates)
    await happens(gates, redis)
    await gates[0].settled()
    assert same.open()
    assert not await heard(same)
    assert Counter(ok=1) == gates[1].told
    assert gates[1].link.up


async def test_what_is_known_here_already(gates: tuple[Gate, Gate]) -> None:
    """A purge that was ordered here, or heard of, holds at once, whatever is under way; what lies nearer is not asked for."""
    kept, same = await found(gates)
    other = gates[1]
    assert same.open()
    assert same.holds()
    other.store.purge(Purge(model="letters"), other.now)
    assert (False, False) == (same.open(), same.holds())
    await other.agree()
    assert (False, False) == (same.open(), same.holds())
    _, same = await found(gates)
    await purged_elsewhere(gates, None)  # type: ignore[arg-type]
    assert same.open()
    await other.agree()
    assert (False, False) == (same.open(), same.holds())
    _, same = await found(gates)
    other.near._kept._room = 1 << 20
    other.near.keep([kept], other.now + 60)
    assert (False, True) == (same.open(), same.holds())


async def test_of_what_it_is_not_made(gates: tuple[Gate, Gate]) -> None:
    """What did not come from the store, what was looked for before a purge, and what lies nearer."""
    one, other = gates
    kept, _ = await found(gates)
    now = other.store.generation
    assert other.store.same(kept, now) is not None
    assert other.store.same(replace(kept, seal=b""), now) is None
    other.near._kept._room = 1 << 20
    other.near.keep([kept], other.now + 60)
    assert other.store.same(kept, now) is None
    other.near.purge(Purge(), other.now + 1)
    assert other.store.same(kept, now) is not None
    other.store.purge(Purge(model="letters"), other.now)
    assert other.store.same(kept, now) is None
    assert other.store.same(kept, other.store.generation) is not None
    (own,) = await one.find(key(1))
    assert own is not None
    assert b"" == own.seal


async def test_a_store_that_is_away(gates: tuple[Gate, Gate], redis: Redis) -> None:
    """Is not asked; whoever has asked is told when it is known."""
    _, same = await found(gates)
    redis.kill()
    assert not await heard(same)
    assert not same.open()
    assert not await heard(same)
    assert not gates[1].link.up
    assert 1 == sum(gates[1].told.values())


async def test_a_store_that_has_forgotten_how(gates: tuple[Gate, Gate], redis: Redis) -> None:
    """The connection ends, as for any refusal: the next one teaches it again."""
    _, same = await found(gates)
    redis.told("SCRIPT", "FLUSH")
    assert not await heard(same)
    assert not same.open()
    assert await gates[1].link.attempt()
    assert same.open()
    assert await heard(same)


@pytest.mark.parametrize("says", [b"$1\r\n1\r\n", b"*1\r\n:1\r\n", b"+OK\r\n", b"$-1\r\n", b":2\r\n", b":-1\r\n"])
async def test_who_says_anything_else_says_no(gates: tuple[Gate, Gate], tmp_path: Path, says: bytes) -> None:
    """Only one word means yes."""
    kept, _ = await found(gates)

    def answers(command: Command) -> bytes:
        if command[0] == b"SCRIPT":
            return b"+OK\r\n"
        return says if command[2] == b"2" else b"*3\r\n$32\r\n" + b"s" * 32 + b"\r\n$0\r\n\r\n$0\r\n\r\n"

    async with FakeRedis(tmp_path, answers) as fake:
        gate = Gate(fake.address)
        assert await gate.link.attempt()
        same = gate.store.same(kept, gate.store.generation)
        assert same is not None
        assert same.open()
        assert not await heard(same)
        await gate.close()
