"""Requests that a connection knows by their bytes, and for whose answer somebody is asked first."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from gateway.edge.http1 import Connection
from gateway.edge.limits import Limits
from gateway.edge.phases import ANSWER, HEAD
from gateway.edge.shared import LATE, LONGEST
from tests.gateway.edge.test_http1 import post

if TYPE_CHECKING:
    from tests.gateway.edge.conftest import Client, Held, Place, Recorder

LATER = post("/later", b"x" * 500)


async def waiting(place: Place, limits: Limits | None = None) -> tuple[Recorder, Client, Held, Connection]:
    """A client whose request waits, unread; whose sweep is too far away to help."""
    app, connect = await place.start(limits)
    client = await connect()
    assert b"read" == (await client.ask(LATER)).body
    held, connection = await once_more(place, app, client)
    return app, client, held, connection


async def once_more(place: Place, app: Recorder, client: Client) -> tuple[Held, Connection]:
    """It waits again."""
    before = len(app.held)
    client.send(LATER)
    async with asyncio.timeout(5):
        while len(app.held) == before:  # noqa: ASYNC110 - what is waited for is seen from outside only
            await asyncio.sleep(0)
    (connection,) = [each for each in place.listeners[0]._shared.connections if each._errand is not None]
    assert (ANSWER, b"") == (connection._phase, connection._buffer)
    return app.held[-1], connection


async def test_what_was_answered_late_once_is_known_again(place: Place) -> None:
    """It waits for who is asked, is answered without being read, and so is the next one."""
    app, client, held, connection = await waiting(place)
    assert (1, "127.0.0.1") == (len(app.heads), held.peer)
    assert LATE < place.listeners[0]._shared._taken - len(LATER) < LATE + 2000
    for _ in range(3):
        held.tell()
        reply = await client.reply()
        assert (b"known", "True") == (reply.body, reply.headers["x-late"])
        assert reply.headers["date"].endswith("GMT")
        assert (HEAD, None) == (connection._phase, connection._errand)
        held, connection = await once_more(place, app, client)
    assert (1, 3) == (len(app.heads), len(app.again))


@pytest.mark.parametrize("fails", [False, True])
async def test_what_is_not_the_answer_any_more_is_read(place: Place, fails: bool, caplog: pytest.LogCaptureFixture) -> None:
    """From its beginning, with the time at which it came; whoever fails to say is told of."""
    app, client, held, _ = await waiting(place)
    app.knows, held.fails = False, fails
    now = monotonic()
    held.tell()
    assert b"read" == (await client.reply()).body
    assert (2, b"x" * 500, True) == (len(app.heads), app.bodies[-1], app.heads[-1].received < now)
    assert fails is ("the application raised" in caplog.text)
    app.knows = True
    held, _ = await once_more(place, app, client)  # it was forgotten, and learned again
    held.tell()
    assert b"known" == (await client.reply()).body


@pytest.mark.parametrize("knows", [True, False])
async def test_what_comes_behind_it_waits(place: Place, knows: bool) -> None:
    """And is answered after it, in its order, however it is answered."""
    app, client, held, connection = await waiting(place)
    probe = await place.connect()
    for piece in (post("/a", b"1"), post("/b", b"2")[:40], post("/b", b"2")[40:], LATER + LATER):
        client.send(piece)
        await probe.turns(2)
    assert (1, ANSWER) == (sum(head.path != "/probe" for head in app.heads), connection._phase)
    app.knows = knows
    held.tell()
    expected = [b"known" if knows else b"read", b"1", b"2", b"read", b"read"]
    assert expected == [(await client.reply()).body for _ in expected]


async def test_what_comes_behind_it_is_bounded(place: Place) -> None:
    """The socket is not read any more until it is answered."""
    _, client, held, connection = await waiting(place, Limits(sweep=0.02, pipelined=2000))
    behind = [post("/a", b"y" * 1000)] * 100
    client.send(*behind)
    probe = await place.connect()
    await probe.until(lambda: not connection._reading)
    held.tell()
    assert [b"known"] + [b"y" * 1000] * 100 == [(await client.reply()).body for _ in range(101)]
    assert connection._reading


async def test_a_client_that_leaves_meanwhile(place: Place) -> None:
    """Nothing is left of it, and whoever was asked may say what he likes."""
    app, client, held, connection = await waiting(place)
    client.close()
    probe = await place.connect()
    await probe.until(lambda: connection not in place.listeners[0]._shared.connections)
    assert held.cancelled
    assert (None, b"") == (connection._errand, connection._buffer)
    held.tell()
    assert [] == app.again


async def test_a_client_that_only_ends_its_side(place: Place) -> None:
    """Has its answer."""
    _, client, held, _ = await waiting(place)
    client.writer.write_eof()
    probe = await place.connect()
    await probe.turns(2)
    held.tell()
    rest = await client.rest()
    assert rest.endswith(b"\r\n\r\nknown")
    assert not held.cancelled


async def test_one_that_is_cut_off(place: Place) -> None:
    """As by a clock, or for its unread answers."""
    _, _, held, connection = await waiting(place)
    connection.abandon()
    probe = await place.connect()
    await probe.until(lambda: connection not in place.listeners[0]._shared.connections)
    assert held.cancelled


async def test_a_port_that_is_drained_meanwhile(place: Place) -> None:
    """It is read then, and its answer ends the connection."""
    app, client, held, _ = await waiting(place, Limits(linger_timeout=0.1, sweep=0.02))
    listener = place.listeners[0]
    draining = asyncio.create_task(listener.drain(5.0))
    async with asyncio.timeout(5):
        while not listener._shared.draining:  # noqa: ASYNC110 - what is waited for is seen from outside only
            await asyncio.sleep(0)
    held.tell()
    reply = await client.reply()
    assert (b"read", "close", []) == (reply.body, reply.headers["connection"], app.again)
    await draining
    assert not held.cancelled


async def test_one_that_is_drained_away(place: Place) -> None:
    """When its time is over it is cut off as any other."""
    _, client, held, _ = await waiting(place)
    await place.listeners[0].drain(0.0)
    assert held.cancelled
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await client.reply()


async def test_who_takes_no_answers_waits_with_what_is_behind(place: Place) -> None:
    """The answer is added to what it has not taken; nothing more is begun."""
    app, client, held, connection = await waiting(place)
    probe = await place.connect()
    connection.pause_writing()
    app.knows = False
    client.send(post("/a", b"1"))
    await probe.turns(2)
    held.tell()
    await probe.turns(2)
    assert (HEAD, LATER + post("/a", b"1")) == (connection._phase, connection._buffer)
    connection.resume_writing()
    assert [b"read", b"1"] == [(await client.reply()).body for _ in range(2)]


async def test_what_is_long_is_not_held_for_it(place: Place) -> None:
    """A long request that is answered late is not known again, nor is one that did not come in one piece."""
    app, connect = await place.start()
    client, probe = await connect(), await connect()
    for _ in range(3):
        assert b"read" == (await client.ask(post("/later", b"x" * LONGEST))).body
    for _ in range(3):
        client.send(LATER[:50])
        await probe.turns(2)
        assert b"read" == (await client.ask(LATER[50:] + b"\r\n")).body
    assert [] == app.held
    assert not place.listeners[0]._shared._again


@pytest.mark.parametrize(
    "request_", [post("/later", b"x", "Connection: close"), b"POST /later HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"]
)
async def test_what_needs_a_word_on_the_connection_is_not_known_again(place: Place, request_: bytes) -> None:
    """A request that ends it, or of a client of old; and one whose answer nobody gives again."""
    app, connect = await place.start()
    for asked in (request_, post("/a", b"x")):
        client = await connect()
        assert 200 == (await client.ask(asked)).status
    assert not place.listeners[0]._shared._again
    assert [] == app.held
