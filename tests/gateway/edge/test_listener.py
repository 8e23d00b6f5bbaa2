"""The port: how many it serves, and how it ends."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from gateway.configuration.readers import Address
from gateway.edge.limits import Limits
from gateway.edge.listener import listen
from gateway.workers.ports import close, reserve

if TYPE_CHECKING:
    from tests.gateway.edge.conftest import Client, Place

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
WAIT = b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n"


async def test_a_free_port_is_bound_and_told(place: Place) -> None:
    """Port 0 takes a free one, which the listener names; a second listener cannot have it."""
    app, connect = await place.start()
    listener = place.listeners[0]
    with pytest.raises(OSError, match="in use"):
        await listen(app, "127.0.0.1", listener.port, Limits())
    assert 200 == (await (await connect()).ask(GET)).status
    assert 1 == listener.connections


async def test_listeners_that_agree_to_share_a_port_each_get_connections(place: Place) -> None:
    """Also on a port that somebody holds without listening, as a parent of workers does; who does not agree is refused."""
    app, connect = await place.start()
    probe = await connect()
    address, held = reserve(Address("127.0.0.1", 0))
    two = [await listen(app, "127.0.0.1", address.port, Limits(), reuse_port=True) for _ in range(2)]
    place.listeners += two
    writers = [(await asyncio.open_connection("127.0.0.1", address.port))[1] for _ in range(64)]
    await probe.until(lambda: 64 == sum(listener.connections for listener in two))
    assert min(listener.connections for listener in two) > 8
    with pytest.raises(OSError, match="in use"):
        await listen(app, "127.0.0.1", address.port, Limits())
    for writer in writers:
        writer.close()
    close(held)


async def test_connections_are_forgotten_when_they_end(place: Place) -> None:
    """The count goes back to nothing, for finished, left and cancelled connections alike."""
    app, connect = await place.start()
    probe = await connect()
    for request in (b"", GET, WAIT):
        client = await connect()
        client.send(request)
        if request == WAIT:
            await app.started.wait()
        client.close()
    await probe.until(lambda: place.listeners[0].connections == 1)
    assert app.cancelled.is_set()


async def test_too_many_connections_are_503(place: Place) -> None:
    """The connection beyond the limit is told to come again; the others live on, and room made is room used."""
    app, connect = await place.start(Limits(sweep=0.02, connections=2, linger_timeout=0.05))
    first, second = await connect(), await connect()
    assert [200, 200] == [(await client.ask(GET)).status for client in (first, second)]
    third = await connect()
    reply = await third.reply()
    assert (503, "connections") == (reply.status, reply.headers["x-penstock-error"])
    assert b"" == await third.rest()
    first.close()
    await second.until(lambda: place.listeners[0].connections == 1)
    assert 200 == (await (await connect()).ask(GET)).status
    assert [(503, "")] == app.refused


async def busy(place: Place) -> tuple[asyncio.Event, asyncio.Event, Client, Client]:
    """A port with one idle and one working connection; the events release and report the cancelling of the work."""
    app, connect = await place.start()
    idle, working = await connect(), await connect()
    await idle.ask(GET)
    working.send(WAIT)
    await app.started.wait()
    return app.release, app.cancelled, idle, working


async def test_drain_lets_requests_finish(place: Place) -> None:
    """Idle connections close at once, a request under way gets its answer with close, nobody new gets in."""
    release, cancelled, idle, working = await busy(place)
    listener = place.listeners[0]
    draining = asyncio.create_task(listener.drain(5))
    assert b"" == await idle.rest()
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await asyncio.open_connection("127.0.0.1", listener.port)
    assert not draining.done()
    release.set()
    assert (200, "close") == ((reply := await working.reply()).status, reply.headers["connection"])
    assert b"" == await working.rest()
    working.close()
    await draining
    assert 0 == listener.connections
    assert not cancelled.is_set()


async def test_drain_leaves_idle_connections_their_next_request(place: Place) -> None:
    """For a while; it is answered, and told that it was the last. Who asks nothing is closed then, and new ones as well."""
    app, connect = await place.start()
    silent, asking, new = await connect(), await connect(), await connect()
    assert [200, 200] == [(await client.ask(GET)).status for client in (silent, asking)]
    draining = asyncio.create_task(place.listeners[0].drain(60, idle=0.3))
    while not place.listeners[0]._shared.draining:  # noqa: ASYNC110
        await asyncio.sleep(0)
    for client in (asking, new):
        assert (200, "close") == ((reply := await client.ask(GET)).status, reply.headers["connection"])
        assert b"" == await client.rest()
        client.close()
    assert not draining.done()
    assert b"" == await silent.rest()
    async with asyncio.timeout(5):
        await draining
    assert 4 == len(app.heads)


async def test_a_request_in_the_kernel_is_not_closed_upon(place: Place) -> None:
    """It came while the loop was busy, just before its connection is to be closed."""
    _, connect = await place.start()
    client, other = await connect(), await connect()
    assert [200, 200] == [(await each.ask(GET)).status for each in (client, other)]
    os.write(client.writer.get_extra_info("socket").fileno(), GET)  # the loop has no turn before the next line
    shared = place.listeners[0]._shared
    shared.draining = True
    for connection in tuple(shared.connections):
        connection.retire()
    assert (200, "close") == ((reply := await client.reply()).status, reply.headers["connection"])
    assert b"" == await other.rest()


async def test_drain_cancels_after_the_grace(place: Place) -> None:
    """What has not finished within the grace is cancelled, and gone when drain returns."""
    _, cancelled, _, working = await busy(place)
    await place.listeners[0].drain(0.02)
    assert cancelled.is_set()
    assert 0 == place.listeners[0].connections
    assert b"" == await working.rest()


async def test_drain_of_a_quiet_port_returns(place: Place) -> None:
    """Nothing to wait for, nothing waited; draining twice is harmless."""
    await place.start()
    await place.listeners[0].drain(60)
    await place.listeners[0].drain(60)


async def test_drain_does_not_wait_for_a_client_that_was_refused(place: Place) -> None:
    """A connection whose last answer is written is closed at once."""
    _, connect = await place.start(Limits(linger_timeout=60))
    client = await connect()
    assert 400 == (await client.ask(b"junk\r\n\r\n")).status
    async with asyncio.timeout(5):
        await place.listeners[0].drain(60)


async def test_drain_waits_for_a_refused_body_but_for_no_request_behind_it(place: Place) -> None:
    """Once the body of an early refusal has been thrown away, the draining port is done with the connection."""
    app, connect = await place.start(Limits(linger_timeout=60))
    idle, client = await connect(), await connect()
    await idle.turns(1)
    assert 401 == (await client.ask(b"POST /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n")).status
    draining = asyncio.create_task(place.listeners[0].drain(60))
    assert b"" == await idle.rest()
    client.send(b"xy", GET)
    assert b"" == await client.rest()
    client.close()
    async with asyncio.timeout(5):
        await draining
    assert ["/probe", "/refuse"] == [head.path for head in app.heads]


async def test_pipelined_requests_of_a_client_that_resets_leave_nothing(place: Place) -> None:
    """A second request that is due just as its socket is lost does not keep the connection for ever."""
    _, _ = await place.start()
    listener = place.listeners[0]
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", listener.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() sends a reset
            client.sendall(GET * 3)
        await asyncio.sleep(0.002)
    async with asyncio.timeout(5):
        while listener.connections:  # noqa: ASYNC110 - nobody tells when it is empty
            await asyncio.sleep(0.005)
