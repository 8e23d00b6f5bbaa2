"""Requests that come to a gateway again in the same bytes: what changes meanwhile is noticed by the very next of them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.features.conftest import Reply, ask, framed, image
from tests.features.test_cache import CASCADE, POLICY, ROWS

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

TWO = POLICY.replace("digits:", "other:").partition("models:\n")[2]
ALIASED = POLICY + TWO + "aliases: {numbers: digits}\n"
LIMITED = POLICY + "limits: [{name: all, per: tenant, requests: 2/h}]\n"
SPENDING = POLICY + "limits: [{name: all, per: tenant, cost: 100/day}]\n"
COSTLY = POLICY.replace("cost: 1}", "cost: 3}")
Happens = Callable[["Running"], Awaitable[None]]


class Line:
    """One connection that stays, and the request that it repeats."""

    def __init__(self, gate: Running, caller: str = "free", model: str = "digits", headers: dict[str, str] | None = None) -> None:
        body = json.dumps({"inputs": [image([1, 2])]}).encode()
        self.whole = b"".join(framed("POST", f"/v2/models/{model}/infer", {**gate.credential(caller), **(headers or {})}, body))
        self.gate = gate
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def _known(self) -> Any:
        """What the edge keeps of the request: another object each time that it was read."""
        return self.gate.gateway.ports.http._shared._again.get(self.whole)

    async def send(self, *pieces: bytes) -> asyncio.StreamReader:
        """On its connection, made if there is none."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self.gate.gateway.ports.http.port)
        reader, writer = self._streams
        writer.writelines(pieces)
        return reader

    async def ask(self) -> tuple[Reply, bool]:
        """An answer, and whether it was given without reading the request."""
        before = self._known
        reply = await answered(await self.send(self.whole))
        return reply, before is not None and before is self._known

    async def settle(self) -> Reply:
        """From some time on nothing is read."""
        for _ in range(5):
            await self.ask()
        reply, unread = await self.ask()
        assert unread
        return reply

    def close(self) -> None:
        """Leaves."""
        if self._streams is not None:
            self._streams[1].close()


async def answered(reader: asyncio.StreamReader) -> Reply:
    async with asyncio.timeout(10):
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        return Reply(int(lines[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"])))


@pytest.fixture
async def line(start: Start) -> AsyncIterator[Callable[..., Awaitable[Line]]]:
    """Starts a gateway and a line to it; leaves with the test."""
    made: list[Line] = []

    async def begin(policy: str = POLICY, settings: dict[str, str] | None = None, **more: Any) -> Line:
        made.append(Line(await start(policy, **(settings or {})), **more))
        return made[-1]

    yield begin
    for each in made:
        each.close()


Begin = Callable[..., Awaitable[Line]]


def purged(which: dict[str, str]) -> Happens:
    async def happens(gate: Running) -> None:
        purge = framed("POST", "/api/cache/purge", gate.credential("admin"), json.dumps(which).encode())
        assert 200 == (await ask(gate.gateway.ports.admin.port, purge)).status

    return happens


def followed(policy: str) -> Happens:
    async def happens(gate: Running) -> None:
        await gate.reload(policy)

    return happens


async def another_version(gate: Running) -> None:
    gate.backend.versions = ["3"]
    await gate.learned()


TAGGED = POLICY.replace("ttl: 10m", "ttl: 10m, tag: vision")
NOTICED: dict[str, tuple[str, Happens, str]] = {
    "a purge of the model": (POLICY, purged({"model": "digits"}), "miss"),
    "a purge of the variant": (POLICY, purged({"variant": "fast"}), "miss"),
    "a purge of the version": (POLICY, purged({"version": "1"}), "miss"),
    "a purge of the tag": (TAGGED, purged({"tag": "vision"}), "miss"),
    "a purge of rows": (ROWS, purged({"model": "digits"}), "miss"),
    "a purge of a cascade": (CASCADE, purged({"model": "digits"}), "miss"),
    "a purge of another model": (POLICY + TWO, purged({"model": "other"}), "unread"),
    "a purge of another version": (POLICY, purged({"version": "9"}), "unread"),
    "a policy": (POLICY, followed(COSTLY), "miss"),
    "the same policy again": (POLICY, followed(POLICY), "hit"),
    "a limit": (POLICY, followed(LIMITED), "hit"),
    "a budget": (POLICY, followed(SPENDING), "hit"),
    "no cache": (POLICY, followed(POLICY.replace("    cache: {ttl: 10m}\n", "")), ""),
    "another version": (POLICY, another_version, "miss"),
}


@pytest.mark.parametrize("what", NOTICED)
async def test_what_happens_is_noticed_by_the_next(line: Begin, what: str) -> None:
    """And by none that it is not about."""
    policy, happens, expected = NOTICED[what]
    client = await line(policy)
    await client.gate.learned()
    before = await client.settle()
    await happens(client.gate)
    reply, unread = await client.ask()
    status = reply.headers.get("cache-status", "")
    assert (200, expected == "unread") == (reply.status, unread)
    assert ("hit" if unread else expected) in status
    assert (expected in ("hit", "unread")) is ("hit" in status)
    assert before.json["outputs"] == reply.json["outputs"]
    if what == "a limit":
        assert "ratelimit" in reply.headers
        assert [200, 429] == [(await client.ask())[0].status for _ in range(2)]


async def test_a_key_that_is_taken_away(line: Begin) -> None:
    """Whoever showed it hears 401 from the reload on; whose key is still there is answered, and soon unread again."""
    client = await line()
    gate = client.gate
    keeps = Line(gate, "digits-only")
    for each in (client, keeps):
        await each.settle()
    file = gate.policy.parent / "keys.yaml"
    entries = file.read_text().removeprefix("- ").split("\n- ")
    file.write_text("".join(f"- {entry.strip()}\n" for entry in entries if gate.keys["free"].split("_")[1] not in entry))
    assert 200 == (await client.ask())[0].status
    await gate.gateway.reload()
    assert [(401, False), (401, False)] == [(reply.status, unread) for reply, unread in [await client.ask() for _ in range(2)]]
    assert (200, False) == ((await keeps.ask())[0].status, False)
    await keeps.settle()
    keeps.close()


async def test_an_alias_that_becomes_another_model(line: Begin) -> None:
    """And one that is taken away."""
    client = await line(ALIASED, model="numbers")
    await client.settle()
    await client.gate.reload(ALIASED.replace("numbers: digits", "numbers: other"))
    reply, unread = await client.ask()
    assert (False, True) == (unread, "miss" in reply.headers["cache-status"])
    await client.settle()
    await client.gate.reload(ALIASED.replace("numbers: digits", "figures: digits"))
    assert 404 == (await client.ask())[0].status


async def others_are_read(client: Line) -> None:
    """Who asks the same question in bytes that differ by the credential only."""
    for caller, status in (("digits-only", 200), ("admin", 403), ("expired", 401)):
        other = Line(client.gate, caller)
        found = [await other.ask() for _ in range(2)]
        assert [(status, False)] * 2 == [(reply.status, unread) for reply, unread in found]
        other.close()


async def test_tenants_and_callers_are_apart(line: Begin) -> None:
    """The same question in bytes that differ by the credential only."""
    client = await line(POLICY.replace("ttl: 10m", "ttl: 10m, shared: true"))
    await client.settle()
    await others_are_read(client)


async def test_what_is_told_of_them(line: Begin, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Each has an id of its own, a line in the log and its place in the metrics and savings, however it was answered."""
    client = await line(settings={"telemetry": "{access_log: json}"})
    replies = [(await client.ask())[0] for _ in range(20)]
    metrics = await client.gate.metrics()
    assert 20 == metrics["penstock_requests_total", ("digits", "default", "fast", "200")]
    assert 20 == metrics["penstock_request_seconds_count", ("digits", "default")]
    assert (1, 19) == tuple(metrics["penstock_cache_requests_total", ("digits", each)] for each in ("miss", "hit"))
    assert 20 * 2 * 40 == metrics["penstock_cost_baseline_total", ("digits",)]
    savings = framed("GET", "/api/savings", client.gate.credential("admin"))
    (told,) = (await ask(client.gate.gateway.ports.admin.port, savings)).json["models"]
    assert (20, 2, 1600) == (told["requests"], told["cost"], told["baseline"])
    await client.gate.gateway.stop()
    lines = [json.loads(each) for each in capsysbinary.readouterr().out.splitlines()]
    assert [reply.headers["x-request-id"] for reply in replies] == [each["request_id"] for each in lines]
    assert 20 == len({each["request_id"] for each in lines})
    own = ("time", "request_id", "ms", "gateway_ms", "backend_ms", "cost")
    alike = Counter(json.dumps({name: value for name, value in each.items() if name not in own}) for each in lines)
    assert [20] == list(alike.values())
    assert len(lines) == sum(each["ms"] > 0 for each in lines)


async def test_however_they_come(line: Begin) -> None:
    """In pieces, two at once, with a line end between them, or with the end of what is sent: each has its answer."""
    client = await line()
    await client.settle()
    whole = client.whole
    for pieces in ([whole[:50], whole[50:]], [whole + whole], [b"\r\n" + whole], [whole + whole[:80], whole[80:]]):
        for piece in pieces:
            await client.send(piece)
            await asyncio.sleep(0)
        for _ in range(b"".join(pieces).count(b"POST ")):
            assert 200 == (await answered(await client.send())).status
    await client.settle()
    assert client._streams is not None
    reader, writer = client._streams
    writer.write(whole)
    writer.write_eof()
    assert 200 == (await answered(reader)).status
    assert b"" == await reader.read()


async def test_a_client_that_takes_nothing(line: Begin) -> None:
    """What waits for it stays within the bounds of a socket, and it has every answer once it reads, in order."""
    client = await line()
    await client.settle()
    reader = await client.send()
    assert client._streams is not None
    _, writer = client._streams
    connection = next(iter(client.gate.gateway.ports.http._shared.connections))
    reading = cast(asyncio.ReadTransport, writer.transport)
    reading.pause_reading()
    sent = 0
    while writer.transport.get_write_buffer_size() < 1 << 18:
        writer.write(client.whole)
        sent += 1
        await asyncio.sleep(0)
    assert connection.unsent() < 1 << 20
    reading.resume_reading()
    ids = [(await answered(reader)).headers["x-request-id"] for _ in range(sent)]
    assert ids == sorted(ids, key=lambda each: int(each.partition("-")[2], 16))
    assert sent == len(set(ids))


async def test_a_gateway_that_goes(line: Begin) -> None:
    """While it is drained they are answered with the end of their connection."""
    client = await line(settings={"drain": "{idle: 1s, grace: 2s}"})
    await client.settle()
    stopping = asyncio.create_task(client.gate.gateway.stop())
    shared = client.gate.gateway.ports.http._shared
    async with asyncio.timeout(5):
        while not shared.draining:  # noqa: ASYNC110 - what is waited for is seen from outside only
            await asyncio.sleep(0.001)
    reply, unread = await client.ask()
    assert (200, "close", False) == (reply.status, reply.headers["connection"], unread)
    await stopping
