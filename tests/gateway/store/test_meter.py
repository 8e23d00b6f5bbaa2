"""Tests of gateway.store.meter: gateways that share a real Redis, lose it, come back to it, and clients that leave meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from gateway.store import scripts
from gateway.store.address import Login, parse
from gateway.store.link import Link
from gateway.store.meter import SharedMeter
from gateway.store.trouble import StoreError
from routing.demand import Demand, Verdict
from tests.gateway.store.fake_redis import Command, FakeRedis
from tests.real_parts import Redis

pytestmark = pytest.mark.slow

PATIENT = 5.0  # seconds for an answer, where lateness is not what is tested
SLOT = [Demand("slot", "concurrency", 1, 0.0, 2)]
RARE = [Demand("rare", "requests", 1, 0.001, 4)]


class Outcomes:
    """Counts how asking went."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def stored(self, outcome: str, seconds: float) -> None:
        """One question."""
        assert (outcome == "away") == (seconds == 0)
        self.seen[outcome] += 1


class Gate:
    """One gateway's meter."""

    def __init__(self, url: str, seconds: float = PATIENT, gateways: int = 1, link: Link | None = None) -> None:
        self.outcomes = Outcomes()
        self.link = link or Link(parse(url), Login(), seconds)
        self.meter = SharedMeter(self.link, self.outcomes, gateways)
        self.tasks: list[asyncio.Task[None]] = []

    async def open(self) -> Gate:
        """Connects, and stays connected."""
        await self.link.attempt()
        self.tasks = [asyncio.create_task(self.link.keep()), asyncio.create_task(self.meter.renew())]
        return self

    async def take(self, demands: Sequence[Demand]) -> Verdict:
        """The verdict, awaited where it must be."""
        found = self.meter.take(demands)
        return found if isinstance(found, Verdict) else await found

    async def fits(self, demands: Sequence[Demand]) -> bool:
        """Whether they were taken."""
        return (await self.take(demands)).limited is None

    async def close(self) -> None:
        """As when the process is killed."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.link.close()


Open = Callable[..., Awaitable[Gate]]


@pytest.fixture
async def gate(redis: Redis) -> AsyncIterator[Open]:
    """Opens gateways on one Redis."""
    opened: list[Gate] = []

    async def begin(**settings: float) -> Gate:
        opened.append(await Gate(redis.url, **settings).open())  # type: ignore[arg-type]
        return opened[-1]

    yield begin
    for each in opened:
        await each.close()


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> float:
    """How long it took."""
    begin = time.monotonic()
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is seen from outside only
            await asyncio.sleep(0.002)
    return time.monotonic() - begin


async def test_two_gateways_count_as_one(gate: Open) -> None:
    """What one takes the other lacks; all verdicts come from Redis."""
    one, two = await gate(), await gate()
    assert [True, True, True, True, False, False] == [await each.fits(RARE) for each in (one, two) * 3]
    assert [True, True, False, False] == [await each.fits(SLOT) for each in (one, two) * 2]
    two.meter.give_back(SLOT)
    await two.fits(RARE)  # on the same connection, so the permit is back when this is answered
    assert await one.fits(SLOT)
    assert {"ok"} == set(one.outcomes.seen) == set(two.outcomes.seen)


async def test_many_at_once_are_counted_one_by_one(gate: Open) -> None:
    """Joined into few packets, and exactly as many let through as there is room for."""
    one, two = await gate(), await gate()
    demand = [Demand("many", "requests", 1, 0.001, 150)]
    found = await asyncio.gather(*(each.fits(demand) for each in (one, two) * 200))
    assert 150 == sum(found)


async def test_the_verdict_says_which_limit_and_how_long(gate: Open) -> None:
    """The same words as from a process alone."""
    one = await gate()
    both = [Demand("a", "requests", 1, 0.1, 1), Demand("b", "requests", 1, 10.0, 100)]
    assert (None, 0, 0) == _told(await one.take(both))
    refused = await one.take(both)
    assert (0, 0, 0) == _told(refused)
    assert 9 < refused.retry_after <= 10


async def test_a_client_that_leaves_while_waiting_holds_nothing(gate: Open) -> None:
    """Whether it leaves before the question is sent, before the answer, or in the same turn as the answer."""
    one = await gate()
    for turns in (0, 1, 2, 3):
        for _ in range(20):
            taken = asyncio.ensure_future(one.take(SLOT))
            for _ in range(turns):
                await asyncio.sleep(0)
            taken.cancel()
            found = (await asyncio.gather(taken, return_exceptions=True))[0]
            if isinstance(found, Verdict) and found.limited is None:
                one.meter.give_back(SLOT)
    await one.take(RARE)
    await one.take(RARE)  # what was given back because of an answer has been answered, too
    assert {} == one.meter.in_flight
    assert [True, True, False] == [await one.fits(SLOT) for _ in range(3)]


async def test_a_client_that_leaves_with_its_verdict_on_the_way_holds_nothing(gate: Open) -> None:
    """The verdict is there, and before the client goes on it is told to end."""
    one = await gate()
    taken = asyncio.create_task(one.take(SLOT))
    await asyncio.sleep(0)
    assert one.link.connection is not None
    one.link.connection.fail(StoreError("closed", "the test has ended it"))  # so it is decided here, at once
    taken.cancel()
    await asyncio.wait((taken,))
    assert (True, {}) == (taken.cancelled(), one.meter.in_flight)


async def test_while_redis_hangs_the_first_wait_and_nobody_else(gate: Open, redis: Redis) -> None:
    """The first for its limit of time, together; from then on nobody for anything; all are decided here."""
    one = await gate(seconds=0.045)
    await one.take(RARE)
    redis.hang()
    begin = time.monotonic()
    assert [True] * 3 == [each.limited is None for each in await asyncio.gather(*(one.take(RARE) for _ in range(3)))]
    first, begin = time.monotonic() - begin, time.monotonic()
    assert isinstance(one.meter.take(RARE), Verdict)
    assert time.monotonic() - begin < 0.02 < 0.04 < first < 0.3
    redis.go_on()
    await until(lambda: one.link.up)
    await one.take(RARE)
    assert {"late", "away", "ok"} == set(one.outcomes.seen)


async def test_alone_a_gateway_goes_on_where_it_was(gate: Open, redis: Redis) -> None:
    """What Redis let through is gone here as well; what is in flight is known."""
    one = await gate()
    assert [True, True] == [await one.fits(RARE), await one.fits(SLOT)]
    redis.kill()
    await until(lambda: not one.link.up)
    assert [True, True, True, False] == [await one.fits(RARE) for _ in range(4)]
    assert [True, False] == [await one.fits(SLOT) for _ in range(2)]
    one.meter.give_back(SLOT)
    assert await one.fits(SLOT)


async def test_a_redis_that_lost_everything_learns_what_is_in_flight(gate: Open, redis: Redis) -> None:
    """Within a second of its return, permits of before, and of the time between, count again."""
    one, two = await gate(), await gate()
    assert await one.fits(SLOT)
    redis.kill()
    await until(lambda: not one.link.up and not two.link.up)
    assert await two.fits(SLOT)
    redis.start()
    await until(lambda: one.link.up and two.link.up)
    await asyncio.gather(one.take(RARE), two.take(RARE))
    assert [False, False] == [await one.fits(SLOT), await two.fits(SLOT)]
    one.meter.give_back(SLOT)
    await one.take(RARE)
    assert await two.fits(SLOT)


async def test_keys_that_were_deleted_are_noticed(gate: Open, redis: Redis) -> None:
    """With the next renewal of the lease; and a script that was, with the next question."""
    one = await gate()
    assert await one.fits(SLOT)
    redis.told("FLUSHALL")
    await until(lambda: bool(redis.told("KEYS", scripts.LEASES)))
    await until(lambda: one.link.up)
    await one.take(RARE)
    assert ["1"] == redis.told("HVALS", scripts.stored("slot")).split()
    redis.told("SCRIPT", "FLUSH")
    assert (await one.take(RARE)).limited is None
    assert 1 == one.outcomes.seen["forgotten"]
    await until(lambda: one.link.up)
    await one.take(RARE)
    assert 1 == one.outcomes.seen["forgotten"]


async def test_what_stays_in_flight_for_long_is_kept(gate: Open, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis forgets permits that nobody names; a gateway names those it has."""
    monkeypatch.setattr("gateway.store.meter.TOUCH", 1)
    one = await gate()
    assert await one.fits(SLOT)
    redis.told("PEXPIRE", scripts.stored("slot"), "3000")
    await until(lambda: int(redis.told("PTTL", scripts.stored("slot"))) > 3000)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"-READONLY You can't write against a read only replica.\r\n", "read-only"),
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", "full"),
        (b":1\r\n", "garbled"),
        (b"*3\r\n:0\r\n:0\r\n$1\r\nx\r\n", "garbled"),
        (b"+OK", "late"),
    ],
)
async def test_whatever_it_answers_requests_go_on(tmp_path: Path, answer: bytes, reason: str) -> None:
    """The one that heard it is decided here, and so is the next, at once."""

    def taken(command: Command) -> bytes:
        if command[0] == b"SCRIPT":
            return b"$1\r\nx\r\n"
        if command[1] == scripts.digest(scripts.RENEW).encode():
            return b"*2\r\n:1\r\n:1\r\n"
        return answer

    async with FakeRedis(tmp_path, taken) as server:
        gate = Gate("", link=Link(server.address, Login()))
        assert await gate.link.attempt()
        assert [True, True] == [await gate.fits(SLOT), await gate.fits(SLOT)]
        assert {reason: 1, "away": 1} == gate.outcomes.seen
        assert not await gate.fits(SLOT)
        await gate.close()


@pytest.mark.parametrize(("gateways", "least"), [(1, 100), (2, 100), (4, 50), (10, 20)])
async def test_alone_all_together_allow_at_most_twice_a_limit(tmp_path: Path, gateways: int, least: int) -> None:
    """Each takes its part of that, as many as there were when Redis last said."""
    alone = Gate("", link=Link(parse(f"unix://{tmp_path}/none.sock"), Login()), gateways=gateways)
    demand = [Demand("k", "requests", 1, 0.001, 100)]
    assert least == sum([await alone.fits(demand) for _ in range(120)])
    assert least * gateways <= 200 or gateways == 1


async def test_how_many_gateways_there_are_is_told_by_redis(gate: Open, redis: Redis) -> None:
    """With each renewal."""
    gates = [await gate() for _ in range(4)]
    await until(lambda: all(each.meter.gateways == 4 for each in gates))
    redis.kill()
    await until(lambda: not gates[0].link.up)
    demand = [Demand("k", "requests", 1, 0.001, 100)]
    assert 50 == sum([await gates[0].fits(demand) for _ in range(120)])


def _told(verdict: Verdict) -> tuple[int | None, int, int]:
    return verdict.limited, verdict.told, verdict.remaining
