"""Tests of gateway.store.scripts: what a real Redis makes of them, held against the meter of a single process."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence

import pytest

from gateway.store import scripts
from gateway.store.connection import Connection
from gateway.store.trouble import StoreError
from routing.buckets import Buckets
from routing.demand import Demand, Level
from tests.real_parts import Redis

pytestmark = pytest.mark.slow

SLACK = 2.0  # seconds that a test may be held up between two steps


class Asker:
    """Runs the scripts over a connection, under the name of some gateway."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def _run(self, script: str, keys: Sequence[str], *words: str | float) -> object:
        return await self.connection.ask("EVAL", script, len(keys), *keys, *words)

    async def take(self, *demands: Demand, name: str = "one") -> list[Level]:
        """TAKE, as the meter asks it."""
        words = [word for each in demands for word in (each.kind, each.cost, 1e6 / each.rate if each.rate else 0, each.burst)]
        keys = [scripts.LEASES, *(scripts.stored(each.key) for each in demands)]
        return scripts.levels(await self._run(scripts.TAKE, keys, name, *words), demands)

    async def give_back(self, *demands: Demand, name: str = "one") -> None:
        """GIVE_BACK."""
        await self._run(scripts.GIVE_BACK, [scripts.stored(each.key) for each in demands], name)

    async def renew(self, name: str, before: str = "") -> object:
        """RENEW."""
        return await self._run(scripts.RENEW, [scripts.LEASES], name, before or name)


@pytest.fixture
async def asker(redis: Redis) -> AsyncIterator[Asker]:
    """A connection to a real Redis."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(lambda _: None, 5.0), "127.0.0.1", redis.port)
    yield Asker(connection)
    connection.close()


def requests(key: str, rate: float, burst: int, cost: int = 1) -> Demand:
    """A demand by time."""
    return Demand(key, "requests", cost, rate, burst)


def at_once(key: str, ceiling: int) -> Demand:
    """A demand of concurrency."""
    return Demand(key, "concurrency", 1, 0.0, ceiling)


async def test_a_burst_and_then_the_rate(asker: Asker) -> None:
    """So many at once, the next after its interval; what is left counts down."""
    levels = [(await asker.take(requests("k", 0.1, 3)))[0] for _ in range(4)]
    assert [2, 1, 0, 0] == [level.left for level in levels]
    assert [0, 0, 0] == [level.wait for level in levels[:3]]
    assert 10 - SLACK <= levels[3].wait <= 10
    assert 30 - SLACK <= levels[3].reset <= 30


async def test_what_costs_more_than_the_burst_passes_an_empty_bucket_and_is_paid_for(asker: Asker) -> None:
    """As in routing.gcra."""
    assert 0 == (await asker.take(requests("k", 10, 5, cost=50)))[0].wait
    assert 4.6 - SLACK <= (await asker.take(requests("k", 10, 5)))[0].wait <= 4.6


async def test_what_takes_ages_is_counted_too(asker: Asker, redis: Redis) -> None:
    """One a year and a million at once: no number grows beyond what Redis takes."""
    demand = requests("k", 1 / 31_536_000, 10**9, cost=10**9)
    assert 0 == (await asker.take(demand))[0].wait
    assert 1e9 == (await asker.take(demand))[0].wait
    assert 1e11 < int(redis.told("PTTL", scripts.stored("k")))


async def test_a_clock_that_is_set_back_refuses_nobody_for_longer(asker: Asker, redis: Redis) -> None:
    """A bucket goes on from where it was, as if its numbers were of a moment ago and not an hour ahead of now."""
    for _ in range(3):
        await asker.take(requests("k", 0.1, 3))
    ahead = [str(float(word) + 3.6e9) for word in redis.told("GET", scripts.stored("k")).split()]
    redis.told("SET", scripts.stored("k"), " ".join(ahead))
    assert 10 - SLACK <= (await asker.take(requests("k", 0.1, 3)))[0].wait <= 10


async def test_a_clock_that_is_set_back_keeps_no_lease_for_longer(asker: Asker, redis: Redis) -> None:
    """Who was killed just before holds its permits as long as ever."""
    await asker.renew("one", "nobody")
    await asker.renew("dead", "nobody")
    ends = int(redis.told("HGET", scripts.LEASES, "dead"))
    redis.told("HSET", scripts.LEASES, "dead", str(ends + 3_600_000_000))
    assert [1, 2] == await asker.renew("one")
    assert abs(int(redis.told("HGET", scripts.LEASES, "dead")) - ends) <= 1e6 * SLACK


async def test_no_more_is_left_than_there_can_be(asker: Asker) -> None:
    """Also where a unit takes less time than what is forgiven for rounding."""
    demand = Demand("fast", "bytes", 1, 1e9, 10**9)
    assert 10**9 == (await asker.take(demand))[0].left == Buckets().take([demand], 0.0).remaining


async def test_all_or_nothing(asker: Asker) -> None:
    """A demand that does not fit leaves the others as they were."""
    many, none = requests("many", 0.1, 5), requests("none", 0.001, 1)
    await asker.take(none)
    free = at_once("c", 2)
    for _ in range(5):
        levels = await asker.take(many, none, free)
        assert [0, True, 0] == [levels[0].wait, levels[1].wait > 0, levels[2].wait]
    assert [4, 1] == [level.left for level in await asker.take(many, free)]


async def test_the_same_as_one_process_alone(asker: Asker) -> None:
    """Random demands get the same answers as from routing.buckets, which hypothesis knows (time aside: none passes here)."""
    chance, alone = random.Random(7), Buckets()
    demands = [requests(f"r{n}", 1e-6 * 10**n, 1 + 3 * n) for n in range(3)] + [at_once(f"c{n}", 1 + n) for n in range(3)]
    taken: list[list[Demand]] = []
    for _ in range(300):
        asked = chance.sample(demands, chance.randint(1, 4))
        if taken and chance.random() < 0.3:
            back = [each for each in taken.pop(chance.randrange(len(taken))) if each.kind == "concurrency"]
            alone.give_back(back)
            await asker.give_back(*back)
        levels, expected = await asker.take(*asked), alone.take(asked, 0.0)
        assert (expected.limited is None) == all(level.wait == 0 for level in levels)
        if expected.limited is None:
            assert expected.remaining == levels[expected.told].left
            taken.append(asked)


async def test_a_bucket_keeps_fractions_of_a_microsecond(asker: Asker, redis: Redis) -> None:
    """Bytes cost less than one each; cut off, many small takes would be for nothing."""
    await asker.take(Demand("b", "bytes", 1, 3.0, 100))
    assert "." in redis.told("GET", scripts.stored("b"))


async def test_every_key_expires_and_none_tells_who(asker: Asker, redis: Redis) -> None:
    """Buckets when they are empty, the rest when nobody renews it; names are hashes."""
    await asker.renew("one", "nobody")
    await asker.take(requests("secret-tenant", 10, 50, cost=30), at_once("secret-tenant:c", 2))
    keys = redis.told("KEYS", "*").split()
    assert 3 == len(keys)
    assert all(key.startswith(scripts.PREFIX) and "secret" not in key for key in keys)
    left = {key: int(redis.told("PTTL", key)) for key in keys}
    assert all(0 < each <= scripts.KEPT_MS for each in left.values())
    assert 1000 <= left[scripts.stored("secret-tenant")] <= 3002


async def test_permits_of_all_gateways_count_together(asker: Asker) -> None:
    """Until they are given back, each by whoever had it."""
    for name in ("one", "two"):
        await asker.renew(name, "nobody")
    assert [1, 0] == [(await asker.take(at_once("c", 2), name=name))[0].left for name in ("one", "two")]
    assert (await asker.take(at_once("c", 2), name="one"))[0].wait > 0
    await asker.give_back(at_once("c", 2), name="two")
    assert [0, True] == [(await asker.take(at_once("c", 2), name="two"))[0].wait, (await asker.take(at_once("c", 2)))[0].wait > 0]


async def test_a_gateway_without_a_lease_holds_nothing(asker: Asker, redis: Redis) -> None:
    """Its permits are free when its lease is over, and its fields go with the next look."""
    await asker.renew("dead", "nobody")
    await asker.renew("one", "nobody")
    await asker.take(at_once("c", 1), name="dead")
    assert (await asker.take(at_once("c", 1), name="one"))[0].wait > 0
    redis.told("HSET", scripts.LEASES, "dead", "1")  # over since 2026
    assert 0 == (await asker.take(at_once("c", 1), name="one"))[0].wait
    assert ["one", "1"] == redis.told("HGETALL", scripts.stored("c")).split()
    assert [1, 1] == await asker.renew("one")
    assert ["one"] == redis.told("HKEYS", scripts.LEASES).split()


async def test_who_was_forgotten_is_told(asker: Asker, redis: Redis) -> None:
    """A renewal makes no lease; joining does, and ends the one that was before."""
    assert [0, 1] == await asker.renew("one", "nobody")
    assert [1, 1] == await asker.renew("one")
    assert [0, 1] == await asker.renew("uno", "one")
    assert [0, 1] == await asker.renew("one")
    redis.told("FLUSHALL")
    assert [0, 0] == await asker.renew("uno")


async def test_nothing_is_owed_below_zero(asker: Asker, redis: Redis) -> None:
    """A permit that Redis knows nothing of is given back to no harm."""
    await asker.give_back(at_once("c", 1))
    assert "" == redis.told("KEYS", "*")


@pytest.mark.parametrize("answer", [None, [], [0, 1], [0, 1, "x"], b"OK", [0, 1, 2, 3, 4, 5], [True, 1, 1]])
def test_an_answer_of_another_shape_is_refused(answer: object) -> None:
    """Whoever answers that is no script of ours."""
    with pytest.raises(StoreError, match="something else than was asked"):
        scripts.levels(answer, [requests("k", 1, 1)])
