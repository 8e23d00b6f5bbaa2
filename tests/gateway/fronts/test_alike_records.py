"""What a request that was asked at once is known by afterwards: its id, its peer, its policy and its times."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from time import monotonic
from typing import cast

import pytest

from backends.begun import Begun
from gateway.fronts.alike import Alike
from gateway.fronts.forms import Expected
from tests.gateway.edge.conftest import Client
from tests.gateway.fronts.answering import Whole
from tests.gateway.fronts.pairs import DEAR, QUESTION, Pair, Start, until


def known(whole: Whole) -> Alike:
    """Who answers for the only head that is known."""
    ((_, alike),) = whole.listener._shared.heads._sized.values()
    return cast(Alike, alike)


@pytest.mark.parametrize("word", ["ok", "longer"])
async def test_each_has_an_id(word: str, pair: Start) -> None:
    """One, which client, backend and record are told, whichever way its answer takes."""
    both = await pair()
    await both.settled()
    quick, client, (server,) = both.both[0], both.clients[0][0], both.servers
    server.words.append(word)
    _, headers, _ = await client.ask(QUESTION)
    id = headers["x-request-id"]
    assert f"x-request-id: {id}\r\n".encode() in server.seen[-1][0]
    assert id == quick.records[-1].request_id


async def test_each_has_a_peer(pair: Start) -> None:
    """Whoever is answered, at once or not, and whoever leaves."""
    both = await pair()
    await both.settled()
    quick, (server,) = both.both[0], both.servers
    other = Client(*await asyncio.open_connection("127.0.0.1", quick.listener.port, local_addr=("127.0.0.2", 0)))
    admitted = quick.front.admitted
    for word in ("longer", "ok"):
        server.words.append(word)
        assert 200 == (await other.ask(QUESTION))[0]
    await leaving(quick, both, other)
    assert ["127.0.0.2"] * 3 == [record.peer for record in quick.records[-3:]]
    assert admitted == quick.front.admitted


async def leaving(quick: Whole, both: Pair, client: Client) -> None:
    """Its client leaves before there is an answer."""
    (server,), count = both.servers, len(quick.records)
    server.words.append("hung")
    client.send(QUESTION)
    await until(lambda: not server.words)
    client.writer.transport.abort()
    await until(lambda: len(quick.records) > count)
    assert ("499", 1) == (quick.records[-1].code, len(quick.records) - count)


async def test_who_leaves_was_under_the_policy_that_asked(pair: Start) -> None:
    """Not under the one of the moment; and it is not the client's doing where the process ends."""
    both = await pair(clients=2)
    await both.settled()
    quick, (server,) = both.both[0], both.servers
    quick.front._parts = replace(quick.front._parts, leaving=lambda: True)
    count, before = len(quick.records), quick.plane.snapshot.version
    server.words.append("hung")
    client = both.clients[0].pop()
    client.send(QUESTION)
    await until(lambda: not server.words)
    quick.take(DEAR)
    client.writer.transport.abort()
    await until(lambda: len(quick.records) > count)
    record = quick.records[-1]
    assert (before, "default", "draining") == (record.policy, record.route, record.reason)


async def test_times(pair: Start) -> None:
    """What the backend took is told and noted; what is left of it is the gateway's own."""
    both = await pair()
    await both.settled()
    await both.clients[0][0].ask(QUESTION)
    record = both.both[0].records[-1]
    assert 0 < record.backend_seconds <= record.seconds
    assert pytest.approx(record.seconds - record.backend_seconds) == record.overhead_seconds


class Nobody:
    """Implements gateway.edge.messages.Asker; nobody hears of it."""

    def answered(self, lines: str, body: bytes) -> None:
        """Nothing."""

    def work(self, answer: object) -> None:
        """Nothing."""

    def ended(self) -> None:
        """Nothing."""


async def test_time_goes_from_its_own_first_byte(pair: Start) -> None:
    """Not from when it is asked; nor from the first byte of the one by which it is known, however long ago that was."""
    both = await pair()
    await both.settled()
    quick, (server,), began = both.both[0], both.servers, monotonic() - 2.5
    server.words.append("hung")
    pending = known(quick).ask(QUESTION.partition(b"\r\n\r\n")[2], began, "", Nobody())
    assert pending is not None
    begun: Begun = pending.started[0]  # type: ignore[attr-defined]
    await until(lambda: not server.words)
    pending.cancel()
    assert began + 4.5 < begun.deadline.at <= began + 5.0
    assert 200 == (await both.clients[0][0].ask(QUESTION))[0]  # over a connection that has to be made
    known(quick)._known.exchange.received -= 3600.0
    resumed = quick.front.resumed
    server.words.append("longer")
    assert 200 == (await both.clients[0][0].ask(QUESTION))[0]
    assert resumed + 1 == quick.front.resumed


async def test_whatever_goes_wrong_there_is_an_answer(pair: Start, caplog: pytest.LogCaptureFixture) -> None:
    """The long way, and it is in the log."""

    class Broken:
        lines = ""

        def body(self, begun: Begun) -> bytes:
            raise ValueError("not as it should be")

    both = await pair()
    await both.settled()
    alike = known(both.both[0])
    alike._expected = cast(Expected, Broken())
    await both.same(QUESTION)
    assert both.at_once
    assert not both.to_the_end
    assert ["ValueError"] == [
        str(record.exc_info[0].__name__) for record in caplog.records if record.exc_info and record.exc_info[0]
    ]
