"""Tests of gateway.store.answers: two gateways that share answers over a real Redis, and a Redis that says anything."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from backends.inference import InferenceResponse, Tensors
from backends.tensors import Tensor
from gateway.store import answer_scripts
from gateway.store.address import parse
from gateway.store.answers import ASIDE, AT_ONCE, PAUSE_SECONDS
from gateway.store.orders import Orders
from gateway.store.trouble import StoreError
from policies.local_store import LocalStore
from routing.cache.caching import Purge
from tests.gateway.store.fake_redis import Command, FakeRedis
from tests.gateway.store.gate import Gate, answer, key, two
from tests.real_parts import Redis

DIGITS = Purge(model="digits")


@pytest.fixture
async def gates(redis: Redis) -> AsyncIterator[tuple[Gate, Gate]]:
    """Two on a real Redis."""
    async with two(parse(redis.url)) as made:
        yield made


pytestmark = pytest.mark.slow


async def test_what_one_keeps_the_other_finds(gates: tuple[Gate, Gate]) -> None:
    """In one trip for all that is missing; once found it lies near, where finding it never waits."""
    one, other = gates
    assert one.keys.secret == other.keys.secret
    assert one.keep(key(1), key(2))
    assert isinstance(one.store.find([key(1), key(2)]), list)  # never asks what it has
    await one.settled()
    other.near.keep([answer(key(3), 1000.0, 40, 50.0)], 1060.0)
    found = await other.find(key(1), key(2), key(3), key(4))
    assert [key(1), key(2), key(3), None] == [each and each.key for each in found]
    assert Counter(ok=1, found=2, missing=1) == other.told
    assert isinstance(other.store.find([key(1), key(2), key(3)]), list)
    first = found[0]
    assert first is not None
    assert (key(1) * 2)[:40] == first.response.payload.tensors()[0].data
    assert (1000.0, True) == (first.asked, 1045.0 < first.until <= 1050.0)


async def test_moments_are_the_reader_s(gates: tuple[Gate, Gate], redis: Redis) -> None:
    """Whatever its clock says: what is left is what Redis says is left, and what is over is gone there, too."""
    one, other = gates
    other.now = 5.0
    one.keep(key(1), fresh=50.0, stale=10.0)
    one.keep(key(2), fresh=0.0, stale=10.0)
    one.keep(key(3), fresh=-2.0, stale=1.0)
    await one.settled()
    fresh, stale, over = await other.find(key(1), key(2), key(3))
    assert fresh is not None
    assert stale is not None
    assert over is None
    assert (True, True) == (45.0 < fresh.until - 5.0 <= 50.0, -5.0 < stale.until - 5.0 <= 0.0)
    assert 50_000 < int(redis.told("PTTL", answer_scripts.stored(key(1)))) <= 60_000


async def test_a_stale_one_is_looked_for_again(gates: tuple[Gate, Gate]) -> None:
    """Another gateway may have renewed it; if not, it is still what there is."""
    one, other = gates
    one.keep(key(1), fresh=-1.0, stale=100.0)
    await one.settled()
    found = one.store.find([key(1)])
    assert not isinstance(found, list)
    assert isinstance(found, Awaitable)
    assert [True] == [each is not None and each.until < one.now for each in await found]
    other.keep(key(1))
    await other.settled()
    assert [True] == [each is not None and each.until > one.now + 40 for each in await one.find(key(1))]


async def test_whoever_only_looks_near_asks_nobody(gates: tuple[Gate, Gate]) -> None:
    """What is not awaited is not asked for."""
    one, _ = gates
    one.store.find([key(1)])
    await one.settled()
    assert Counter() == one.told


@pytest.mark.parametrize(("count", "size"), [(512, 40), (1, 3 * ASIDE), (8, ASIDE // 2), (AT_ONCE + 1, 1000)])
async def test_many_and_large_ones(gates: tuple[Gate, Gate], count: int, size: int) -> None:
    """They are packed beside the loop and arrive all the same."""
    one, other = gates
    keys = [key(number) for number in range(count)]
    assert one.keep(*keys, size=size)
    await one.settled()
    assert keys == [each and each.key for each in await other.find(*keys)]
    assert (count, 0) == (one.told["sent"], one.store._sending)


async def test_what_is_too_large_stays_near(redis: Redis) -> None:
    """As does what would be too much on its way at once."""
    async with two(parse(redis.url), most=10_000) as (one, other):
        chance = random.Random(1)
        noise = Tensor("x", "UINT8", (1, 10_000), chance.randbytes(10_000))
        kept = answer(key(1), 1000.0, 0, 50.0)
        response = InferenceResponse("digits", "1", "", {}, Tensors((noise,)))
        assert one.store.keep([replace(kept, response=response)], 1060.0)
        assert one.keep(*[key(100 + number) for number in range(100)], size=200_000)
        await one.settled()
        assert Counter(left=101) == one.told
        assert [False, False] == await other.has(key(1), key(100))


async def test_what_is_not_ours_is_not_found(gates: tuple[Gate, Gate], redis: Redis) -> None:
    """A value that was changed, moved, or written by a stranger."""
    one, other = gates
    one.keep(key(1), key(2), key(3), key(4))
    await one.settled()
    names = [answer_scripts.stored(key(number)) for number in range(1, 5)]
    redis.told("RENAME", names[0], names[1])
    redis.told("SETRANGE", names[2], "30", "x")
    redis.told("PERSIST", names[3])
    assert [False] * 4 == await other.has(*[key(number) for number in range(1, 5)])
    assert Counter(ok=1, missing=1, refused=3) == other.told
    redis.told("DEL", names[0])
    redis.told("RPUSH", names[0], "a")
    assert [False] == await other.has(key(1))


async def test_a_purge_reaches_the_other(gates: tuple[Gate, Gate]) -> None:
    """What lies in Redis at once, what the other has near when it hears of it; what is asked later is kept again."""
    one, other = gates
    one.keep(key(1), key(2))
    await one.settled()
    assert [True] == await other.has(key(1))
    generation = other.store.generation
    one.now += 1
    one.store.purge(DIGITS, one.now)
    assert [False] == await one.has(key(1))
    assert await one.store.told()
    assert [False] == await other.has(key(2))  # which it had not near: Redis says that there was a purge
    assert [True] == await other.has(key(1))  # as yet
    other.now += 2
    await other.agree()
    assert generation != other.store.generation == one.store.generation
    assert [False, False] == await other.has(key(1), key(2))
    one.now += 1
    one.keep(key(1))
    await one.settled()
    assert [True] == await other.has(key(1))


async def test_answers_on_their_way_are_purged_too(gates: tuple[Gate, Gate]) -> None:
    """Asked before the purge and kept after it: at whoever heard of it nothing is found."""
    one, other = gates
    asked = one.now
    one.now += 1
    other.store.purge(DIGITS, other.now)
    assert await other.store.told()
    late = answer(key(1), asked, 40, 50.0)
    assert one.store.keep([late], 1060.0)  # it has not heard of it
    await one.settled()
    assert [False] == await other.has(key(1))
    one.now += 1
    await one.agree()
    assert not one.near.keep([late], 1060.0)
    one.store.keep([late], 1060.0)
    await one.settled()
    assert [[False], [False]] == [await gate.has(key(1)) for gate in gates]


async def test_one_order_to_several_workers_is_one(gates: tuple[Gate, Gate]) -> None:
    """They all push it; it has one number, and nothing is thrown away twice."""
    for gate in gates:
        gate.now += 1
        gate.store.purge(DIGITS, gate.now, "order")
        assert await gate.store.told()
    one, other = gates
    assert [b"1 order"] * 2 == [one.store.generation, other.store.generation]
    other.now += 1
    other.keep(key(1))
    await other.agree()
    assert [True] == await other.has(key(1))


async def test_a_purge_while_redis_is_away(gates: tuple[Gate, Gate], redis: Redis) -> None:
    """It is kept, it is said that others do not know, and it is pushed before anything is asked on its return."""
    one, other = gates
    other.keep(key(1))
    await other.settled()
    assert one.link.connection is not None
    one.link.connection.fail(StoreError("closed", "by the test"))
    one.now += 1
    one.store.purge(DIGITS, one.now)
    assert not await one.store.told()
    assert await one.link.attempt()
    assert await one.store.told()
    other.now += 2
    await other.agree()
    assert [[False], [False]] == [await gate.has(key(1)) for gate in gates]


async def test_the_secret_stays_the_same_object(gates: tuple[Gate, Gate]) -> None:
    """Who has made a key with it knows by that that it still holds."""
    one, _ = gates
    secret = one.keys.secret
    await one.agree()
    assert secret is one.keys.secret


async def test_a_flushed_redis_gets_back_what_is_known(gates: tuple[Gate, Gate], redis: Redis) -> None:
    """The secret, so that what is near stays, and the purges."""
    one, other = gates
    one.store.purge(DIGITS, one.now)
    await one.store.told()
    await other.agree()
    secret = one.keys.secret
    redis.told("FLUSHALL")
    for _ in range(2):
        for gate in (other, one):
            await gate.agree()
    assert [secret] * 2 == [one.keys.secret, other.keys.secret]
    assert {DIGITS} == set((await asks_all(other)).purges or {})
    other.now += 1
    other.keep(key(1))
    await other.settled()
    assert [True] == await one.has(key(1))


async def asks_all(gate: Gate) -> answer_scripts.Agreed:
    """All that the store knows."""
    assert gate.link.connection is not None
    answer = await gate.link.connection.ask("EVAL", answer_scripts.AGREE, 1, answer_scripts.STATE, b"x" * 32, "")
    return answer_scripts.agreed(answer)


@pytest.mark.parametrize("words", [("CONFIG", "SET", "maxmemory", "1"), ("REPLICAOF", "127.0.0.1", "1")])
async def test_a_store_that_takes_no_writes_is_read(
    gates: tuple[Gate, Gate], redis: Redis, words: Sequence[str], caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted and said once, writing pauses, and the connection stays; then it is tried again."""
    one, other = gates
    one.keep(key(1))
    await one.settled()
    connection = one.link.connection
    redis.told(*words)
    reason = "full" if words[0] == "CONFIG" else "read-only"
    for _ in range(3):
        one.keep(key(2))
        await one.settled()
    assert ({reason: 1, "sent": 2, "left": 2}, True) == (dict(one.told), one.link.up)
    assert (reason == "full") == (connection is one.link.connection)  # behind a replica's name there may be another soon
    assert [True, False] == await other.has(key(1), key(2))
    one.now += PAUSE_SECONDS + 0.1
    one.keep(key(2))
    await one.settled()
    assert (2, 1) == (one.told[reason], caplog.text.count("the store takes no answers"))
    redis.told(*(("CONFIG", "SET", "maxmemory", "0") if reason == "full" else ("REPLICAOF", "NO", "ONE")))
    one.now += PAUSE_SECONDS + 0.1
    one.keep(key(2))
    await one.settled()
    assert [True] == await other.has(key(2))


async def test_a_purge_that_cannot_be_written_waits(gates: tuple[Gate, Gate], redis: Redis) -> None:
    """Nothing of it is found here, and others hear of it when Redis takes writes again."""
    one, other = gates
    other.keep(key(1))
    await other.settled()
    redis.told("CONFIG", "SET", "maxmemory", "1")
    one.now += 1
    one.store.purge(DIGITS, one.now)
    assert (False, [False]) == (await one.store.told(), await one.has(key(1)))
    redis.told("CONFIG", "SET", "maxmemory", "0")
    assert await one.store.told()
    assert [False] == await other.has(key(2))


async def test_a_redis_that_forgets_its_scripts(gates: tuple[Gate, Gate], redis: Redis) -> None:
    """Whoever asks finds nothing, and the connection begins anew."""
    one, _ = gates
    redis.told("SCRIPT", "FLUSH")
    assert [False] == await one.has(key(1))
    assert (1, None) == (one.told["forgotten"], one.link.connection)
    assert await one.link.attempt()
    assert [False] == await one.has(key(1))
    assert 1 == one.told["ok"]


async def test_a_store_that_is_away_is_not_asked(tmp_path: Path) -> None:
    """What is near is found at once, and what is kept is kept near."""
    gate = Gate(parse(f"unix://{tmp_path}/none.sock"))
    assert gate.keep(key(1))
    assert isinstance(gate.store.find([key(1), key(2)]), list)
    assert Counter(away=1, left=1) == gate.told
    assert await gate.store.told()  # there is nothing to tell
    gate.store.purge(DIGITS, gate.now)
    assert not await gate.store.told()
    await gate.close()


SAYS: Sequence[bytes] = (
    b"$-1\r\n",
    b":1\r\n",
    b"*0\r\n",
    b"*1\r\n$0\r\n\r\n",
    b"*1\r\n$3\r\n9 a\r\n",
    b"*1\r\n$1\r\nx\r\n",
    b"*4\r\n$0\r\n\r\n:0\r\n$40\r\n" + bytes(40) + b"\r\n:1000\r\n",
    b"*4\r\n$0\r\n\r\n:7\r\n$1\r\nx\r\n:1000\r\n",
    b"*4\r\n$0\r\n\r\n:0\r\n:5\r\n:1000\r\n",
    b"*4\r\n$0\r\n\r\n:0\r\n$1\r\nx\r\n$1\r\nx\r\n",
    b"*3\r\n$32\r\n" + b"s" * 32 + b"\r\n$0\r\n\r\n$0\r\n\r\n",
    b"-OOM no room\r\n",
    b"-NOPERM no\r\n",
    b"-LOADING\r\n",
    b"nonsense\r\n",
    b"*1000000000\r\n",
)


@pytest.mark.parametrize("says", SAYS)
@pytest.mark.parametrize("greets", [True, False])
async def test_whatever_it_answers(tmp_path: Path, says: bytes, greets: bool) -> None:
    """Nothing raises, nothing is found, and what is kept near is found."""

    def answered(command: Command) -> bytes:
        if greets and (command[0] == b"SCRIPT" or b"s" * 32 in command):
            return SAYS[10] if command[0] == b"EVALSHA" else b"+OK\r\n"
        return says

    async with FakeRedis(tmp_path, answered) as server:
        gate = Gate(server.address, b"s")
        await gate.link.attempt()
        assert [False, False] == await gate.has(key(1), key(2))
        gate.keep(key(1))
        gate.store.purge(Purge(model="other"), gate.now)
        await gate.store.told()
        assert [True, False] == await gate.has(key(1), key(2))
        await gate.close()


async def test_it_agrees_each_second_and_with_the_news(gates: tuple[Gate, Gate]) -> None:
    """The loop ends when it is cancelled, and goes on whatever happens to the connection."""
    one, other = gates
    renewing = one.spawner.spawn(one.store.renew(), "agreement")
    one.store.purge(DIGITS, one.now)
    await until(lambda: not one.store._orders.pending)
    await other.agree()
    assert one.store.generation == other.store.generation
    renewing.cancel()


async def until(condition: Callable[[], bool]) -> None:
    """Lets everybody else go on until the condition holds, for five seconds at most."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for is seen from outside only
            await asyncio.sleep(0.002)


def test_orders_and_memory_agree_on_how_many_purges_there_are() -> None:
    """Beyond as many, both throw everything away."""
    near, orders = LocalStore(1 << 20, lambda: 10.0), Orders()
    near.keep([answer(key(1), 1.0, 40, 50.0)], 60.0)
    for number in range(answer_scripts.MOST_PURGES):
        near.purge(Purge(version=f"v{number}"), 5.0)
        orders.order(Purge(version=f"v{number}"), f"n{number}")
    assert (True, answer_scripts.MOST_PURGES) == (near.find([key(1)]) != [None], len(orders.pending))
    near.purge(Purge(version="more"), 5.0)
    orders.order(Purge(version="more"), "more")
    assert ([None], {Purge()}) == (near.find([key(1)]), set(orders.pending))
