"""Requests that come again in the same bytes, whose answers are in Redis and not in memory: as those that are in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from gateway.edge.phases import ANSWER
from gateway.store import answer_scripts
from tests.features.conftest import until
from tests.features.test_cache import POLICY
from tests.features.test_cache_again import NOTICED, Line, answered, others_are_read
from tests.real_parts import Redis

if TYPE_CHECKING:
    from gateway.edge.http1 import Connection
    from tests.features.conftest import Start

pytestmark = pytest.mark.slow

Begin = Callable[..., Awaitable["Afar"]]


class Afar(Line):
    """A line to a gateway that has no memory to keep answers in."""

    def patient(self, seconds: float) -> None:
        """For so long it waits for Redis, on a machine that may stand still."""
        store = self.gate.gateway._store
        assert store is not None
        assert store.answers_link.connection is not None
        store.answers_link.connection._seconds = seconds

    async def count(self, outcome: str) -> float:
        """Of answers in the store."""
        return (await self.gate.metrics())["penstock_cache_store_total", (outcome,)]

    async def waits(self) -> Connection:
        """The connection, once a request on it waits for Redis."""
        connections = self.gate.gateway.ports.http._shared.connections

        def held() -> list[Connection]:
            return [each for each in connections if each._phase == ANSWER]

        await until(lambda: bool(held()))
        return held()[0]


@pytest.fixture
async def line(start: Start, redis: Redis) -> AsyncIterator[Begin]:
    """Starts a gateway that has found the Redis, and a line to it; leaves with the test."""
    made: list[Afar] = []

    async def begin(policy: str = POLICY, **settings: str) -> Afar:
        gate = await start(policy, store=redis.url, cache="1KiB", **settings)
        await until(lambda: gate.gateway._store is not None and gate.gateway._store.up)
        made.append(Afar(gate))
        made[-1].patient(10.0)
        return made[-1]

    yield begin
    for each in made:
        each.close()


async def test_what_is_in_redis_only_is_not_read_again(line: Begin) -> None:
    """From the third hit on; each of them is asked for in Redis, and counted there."""
    client = await line()
    found = [await client.ask() for _ in range(6)]
    assert ["fwd=miss", *["hit"] * 5] == [each.headers["cache-status"].split("; ")[1] for each, _ in found]
    assert [False, False, False, True, True, True] == [unread for _, unread in found]
    assert 1 == len({each.body for each, _ in found})
    assert 6 == len({each.headers["x-request-id"] for each, _ in found})
    assert 5 == await client.count("found")
    assert 1 == len(client.gate.backend.asked)


@pytest.mark.parametrize("what", [each for each in NOTICED if "rows" not in each and "cascade" not in each])
async def test_what_happens_is_noticed_by_the_next(line: Begin, what: str) -> None:
    """Any purge has it read once: whether it was meant is seen then."""
    policy, happens, expected = NOTICED[what]
    client = await line(policy)
    await client.gate.learned()
    before = await client.settle()
    await happens(client.gate)
    reply, unread = await client.ask()
    status = reply.headers.get("cache-status", "")
    assert (200, False) == (reply.status, unread)
    assert ("hit" if expected == "unread" else expected) in status
    assert (expected in ("hit", "unread")) is ("hit" in status)
    assert before.json["outputs"] == reply.json["outputs"]
    if expected == "unread":
        await client.settle()
    if what == "a limit":
        assert "ratelimit" in reply.headers


async def test_a_key_that_is_taken_away(line: Begin) -> None:
    """Whoever showed it hears 401 from the reload on."""
    client = await line()
    await client.settle()
    file = client.gate.policy.parent / "keys.yaml"
    entries = file.read_text().removeprefix("- ").split("\n- ")
    file.write_text("".join(f"- {entry.strip()}\n" for entry in entries if client.gate.keys["free"].split("_")[1] not in entry))
    await client.gate.gateway.reload()
    assert [(401, False), (401, False)] == [(reply.status, unread) for reply, unread in [await client.ask() for _ in range(2)]]


async def test_an_answer_that_took_its_place(line: Begin, redis: Redis) -> None:
    """Whoever put it there: the next one has it. What is no answer of ours is not found."""
    client = await line()
    before = await client.settle()
    anew = Line(client.gate, headers={"cache-control": "no-cache"})
    assert "stored" in (await anew.ask())[0].headers["cache-status"]
    anew.close()
    reply, unread = await client.ask()
    assert (False, True, before.body) == (unread, "hit" in reply.headers["cache-status"], reply.body)
    await client.settle()
    (name,) = [each for each in redis.told("KEYS", answer_scripts.PREFIX + "*").split() if each != answer_scripts.STATE]
    redis.told("SET", name, "no answer", "PX", "100000")
    reply, unread = await client.ask()
    assert (False, True) == (unread, "fwd=miss; stored" in reply.headers["cache-status"])
    assert await client.count("refused") > 0


async def test_tenants_and_callers_are_apart(line: Begin) -> None:
    """The same question in bytes that differ by the credential only."""
    client = await line(POLICY.replace("ttl: 10m", "ttl: 10m, shared: true"))
    await client.settle()
    await others_are_read(client)


async def test_what_is_told_of_them(line: Begin, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Each has an id of its own, a line in the log and its place in the metrics."""
    client = await line(telemetry="{access_log: json}")
    replies = [(await client.ask())[0] for _ in range(20)]
    metrics = await client.gate.metrics()
    assert 20 == metrics["penstock_requests_total", ("digits", "default", "fast", "200")]
    assert (1, 19) == tuple(metrics["penstock_cache_requests_total", ("digits", each)] for each in ("miss", "hit"))
    assert 20 * 2 * 40 == metrics["penstock_cost_baseline_total", ("digits",)]
    await client.gate.gateway.stop()
    lines = [json.loads(each) for each in capsysbinary.readouterr().out.splitlines()]
    assert [reply.headers["x-request-id"] for reply in replies] == [each["request_id"] for each in lines]
    own = ("time", "request_id", "ms", "gateway_ms", "backend_ms", "cost")
    assert 1 == len({json.dumps({name: value for name, value in each.items() if name not in own}) for each in lines})


async def test_however_they_come(line: Begin) -> None:
    """In pieces, many at once, before the one in front is answered, or with the end of what is sent: each has its answer."""
    client = await line()
    await client.settle()
    whole = client.whole
    other = whole.replace(b"X-API-Key", b"X-Request-Id: own\r\nX-API-Key")
    assert other != whole
    for pieces in ([whole[:50], whole[50:]], [whole * 5], [whole, other + whole[:80], whole[80:] + other]):
        await client.settle()
        for piece in pieces:
            await client.send(piece)
            await asyncio.sleep(0)
        sent = b"".join(pieces)
        own = [b"own" in each for each in sent.split(b"POST ")[1:]]
        told = [await answered(await client.send()) for _ in own]
        assert [200] * len(own) == [each.status for each in told]
        assert own == [each.headers["x-request-id"] == "own" for each in told]
    await client.settle()
    assert client._streams is not None
    reader, writer = client._streams
    writer.write(whole)
    writer.write_eof()
    assert 200 == (await answered(reader)).status
    assert b"" == await reader.read()


async def test_what_comes_behind_one_that_waits(line: Begin, redis: Redis) -> None:
    """Is answered after it, though Redis never says anything: then the backend is asked, as if it had no cache."""
    client = await line()
    await client.settle()
    redis.hang()
    reader = await client.send(client.whole)
    await client.waits()
    await client.send(client.whole.replace(b"X-API-Key", b"X-Request-Id: own\r\nX-API-Key"), client.whole)
    redis.kill()
    told = [await answered(reader) for _ in range(3)]
    assert [(200, True)] * 3 == [(each.status, "fwd=miss" in each.headers["cache-status"]) for each in told]
    assert [False, True, False] == [each.headers["x-request-id"] == "own" for each in told]


async def test_a_client_that_leaves_meanwhile(line: Begin, redis: Redis) -> None:
    """Is counted as one that left, and nothing is held for it."""
    client = await line()
    await client.settle()
    redis.hang()
    await client.send(client.whole)
    connection = await client.waits()
    client.close()
    shared = client.gate.gateway.ports.http._shared
    await until(lambda: connection not in shared.connections)
    redis.go_on()
    assert 1 == (await client.gate.metrics())["penstock_requests_total", ("digits", "default", "", "499")]
    client._streams = None
    await client.settle()


async def test_a_gateway_that_goes_meanwhile(line: Begin, redis: Redis) -> None:
    """Answers with the end of the connection."""
    client = await line(drain="{idle: 1s, grace: 5s}")
    await client.settle()
    redis.hang()
    reader = await client.send(client.whole)
    await client.waits()
    stopping = asyncio.create_task(client.gate.gateway.stop())
    await until(lambda: client.gate.gateway.ports.http._shared.draining)
    redis.go_on()
    reply = await answered(reader)
    assert (200, "close") == (reply.status, reply.headers["connection"])
    await stopping
