"""What happens between a request that was asked at once and its answer: reloads, drains, breakers, other people's requests."""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Callable

import numpy as np
import pytest

from backends.begun import Begun
from backends.errors import ErrorKind
from tests.gateway.edge.conftest import Client
from tests.gateway.fronts.answering import Server, Whole
from tests.gateway.fronts.pairs import DEAR, POLICY, QUESTION, Pair, Start, question, until
from tests.gateway.fronts.test_alike_events import revoked

ROWS = POLICY.replace("timeout: 5s", "timeout: 5s\n    cache: {ttl: 1h, rows: true}")
CASCADE = POLICY.replace(
    "use: fast}",
    "cascade: {confidence: {output: y, metric: max-softmax}, stages: [{use: dear, accept: 1.0}, {use: fast}]}}",
)


async def asked(server: Server) -> None:
    """It has taken its last word."""
    await until(lambda: not server.words)


async def let_go(server: Server) -> None:
    """Nobody waits for it any more."""
    await until(lambda: server.left == 1)


async def recorded(whole: Whole, count: int) -> None:
    """More requests than these."""
    await until(lambda: len(whole.records) > count)


async def slow(both: Pair, event: Callable[[Whole], None], word: str = "late") -> list[tuple[int, bytes, list[bytes]]]:
    """What each is answered when this happens while its backend takes long; and the models that were asked."""
    await both.settled()
    found, (server,) = [], both.servers
    for whole, clients in zip(both.both, both.clients, strict=True):
        server.seen, server.words = [], deque([word])
        clients[0].send(question(3))
        await until(lambda: bool(server.seen))
        event(whole)
        reply = await clients[0].reply()
        found.append((reply.status, reply.body, [head.split(b"/")[3] for head, _ in server.seen]))
    return found


def reloaded(whole: Whole) -> None:
    whole.take(POLICY)


def drained(whole: Whole) -> None:
    whole.plane.snapshot.clusters["triton"].endpoints[0].drain(True, 0.0)


def full(whole: Whole) -> None:
    whole.plane.snapshot.clusters["triton"].places.most = 0


def broken(whole: Whole) -> None:
    """By other requests' failures: both breakers open."""
    endpoint, now = whole.plane.snapshot.clusters["triton"].endpoints[0], whole.front._clock()
    for _ in range(3):
        endpoint.failed(("fast", ""), 0, ErrorKind.UNAVAILABLE, now)
        endpoint.failed(("fast", ""), 0, ErrorKind.BROKEN, now)


@pytest.mark.parametrize("word", ["late", "later"])
@pytest.mark.parametrize("event", [reloaded, drained, full, broken, revoked])
async def test_what_was_asked_before_is_answered(event: Callable[[Whole], None], word: str, pair: Start) -> None:
    """As it would have been the long way, which had asked, too; it is asked once."""
    both = await pair()
    both.servers[0].pause = 0.02 if word == "late" else 0.15  # before it is looked after, and behind that
    found = await slow(both, event)
    assert found[1] == found[0]
    assert (200, [b"fast"]) == (found[0][0], found[0][2])
    assert both.both[1].counted() == both.both[0].counted()
    assert both.both[1].recorded() == both.both[0].recorded()
    assert both.both[1].held() == both.both[0].held()


async def test_another_policy_asks_somebody_else(pair: Start) -> None:
    """What was begun is not its answer, and is dropped; the books have both."""
    both = await pair()
    await both.settled()
    quick, client, (server,) = both.both[0], both.clients[0][0], both.servers
    server.seen, server.words = [], deque(["hung"])
    client.send(QUESTION)
    await until(lambda: bool(server.seen))
    quick.take(DEAR)
    reply = await client.reply()
    assert (200, "dear", "80") == (reply.status, reply.headers["x-penstock-variant"], reply.headers["x-penstock-cost"])
    assert [b"fast", b"dear"] == [head.split(b"/")[3] for head, _ in server.seen]
    await let_go(server)
    assert ["1"] * 2 == [line.rpartition(" ")[2] for line in quick.counted() if "abandoned" in line]
    assert not any(quick.held()[1:])


async def test_a_port_that_is_drained_meanwhile(pair: Start) -> None:
    """Gives the answer, and says that it is the last."""
    both = await pair()
    await both.settled()
    (server,), replies = both.servers, []
    for whole, clients in zip(both.both, both.clients, strict=True):
        server.seen, server.words = [], deque(["late"])
        clients[0].send(QUESTION)
        await until(lambda: bool(server.seen))
        draining = asyncio.create_task(whole.listener.drain(5))
        replies.append(await clients[0].reply())
        assert b"" == await clients[0].rest()
        await draining
    assert ["close"] * 2 == [reply.headers["connection"] for reply in replies]
    assert both.both[1].recorded() == both.both[0].recorded()


async def test_a_port_whose_grace_is_over(pair: Start) -> None:
    """Drops what it was asked, before it takes long and behind that, and what it holds."""
    for pause in (0.0, 0.2):
        both = await pair()
        await both.settled()
        (server,) = both.servers
        for whole, clients in zip(both.both, both.clients, strict=True):
            server.words = deque(["hung"])
            clients[0].send(QUESTION)
            await asked(server)
            await asyncio.sleep(pause)
            await whole.listener.drain(0)
            await let_go(server)
            server.left = 0
        assert both.both[1].recorded() == both.both[0].recorded()
        assert "499" in both.both[0].recorded()[-1]


async def test_who_leaves_is_written_down_alike(pair: Start) -> None:
    """Every word of the record, and every count."""
    both = await pair(clients=3)
    await both.settled()
    (server,) = both.servers
    for pause in (0.0, 0.2):
        for whole, clients in zip(both.both, both.clients, strict=True):
            server.words, count = deque(["hung"]), len(whole.records)
            client = clients.pop()
            client.send(QUESTION)
            await asked(server)
            await asyncio.sleep(pause)
            client.writer.transport.abort()
            await recorded(whole, count)
        assert both.both[1].recorded() == both.both[0].recorded()
        assert both.both[1].counted() == both.both[0].counted()


async def test_large_tensors_that_take_long(pair: Start) -> None:
    """Are read aside, where their answer may come first."""
    both = await pair()
    large = question(1, rows=60_000)
    for _ in range(3):
        await both.same(large)
    for pause in (0.0, 0.101, 0.102, 0.104, 0.15):
        both.servers[0].pause = pause
        both.words = ("late",)
        reply = await both.same(large)
        assert np.full(60_000, 2, "<f4").tobytes() == reply.body[-240_000:]


async def test_tensors_in_one_piece_that_take_long(pair: Start) -> None:
    """Of which there is no copy until somebody has to read them."""
    both = await pair()
    large = question(1, rows=8_000)
    for pause in (0.0, 0.0, 0.0, 0.12, 0.0, 0.15):
        both.servers[0].pause = pause
        both.words = ("late",) if pause else ()
        reply = await both.same(large)
        assert np.full(8_000, 2, "<f4").tobytes() == reply.body[-32_000:]


async def test_no_answer_crosses(pair: Start) -> None:
    """Many clients with one head and tensors of their own, before two endpoints that are quick, slow, broken, and left."""
    both = await pair(2, POLICY, 20)
    await both.settled()
    for server in both.servers:
        server.pause = 0.12
    left: list[int] = []

    async def ask(client: Client, first: int) -> None:
        for number in range(first, first + 30):
            client.send(question(number))
            if number - first == 29 and first % 4000 == 0:
                left.append(number)
                client.writer.transport.abort()
                return
            reply = await client.reply()
            assert 200 == reply.status
            assert np.full(2, 2 * number, "<f4").tobytes() == reply.body[-8:]

    words = ("ok", "late", "longer", "ok", "crumbs", "ok", "last", "ok", "interim", "ok", "twice")
    for server in both.servers:
        server.words = deque(words * 20)
    before = both.both[0].front.admitted
    async with asyncio.TaskGroup() as group:
        for place, client in enumerate(both.clients[0]):
            group.create_task(ask(client, 1000 * place))
    assert 5 == len(left)
    assert both.both[0].front.admitted - before < 20 * 30 * 3 / 4  # not all went the long way, however slow the machine
    both.clients[0] = both.clients[0][1:]  # the first has left


@pytest.mark.parametrize("word", ["ok", "longer", "500", "half", "closed", "malformed", "late", "hung"])
async def test_nothing_is_left_for_the_collector(word: str, pair: Start) -> None:
    """However it ends, nothing of it is a circle."""
    both = await pair(1, POLICY.replace("5s", "400ms"))
    await both.settled()
    (server,), client = both.servers, both.clients[0][0]
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            server.words = deque([word] * 2)
            await client.ask(QUESTION)
            server.words.clear()
            await client.ask(QUESTION)
        assert not [each for each in gc.get_objects() if isinstance(each, Begun)]
    finally:
        gc.enable()
