"""A client that ends its side: has it left, or does it only send no more?"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from gateway.edge.limits import Limits

if TYPE_CHECKING:
    from tests.gateway.edge.conftest import Client, Place, Recorder


def ask(path: str, *fields: str, version: str = "1.1") -> bytes:
    """A request without a body."""
    return "\r\n".join([f"GET {path} HTTP/{version}", "Host: h", *fields, "", ""]).encode()


async def shut(place: Place, *pieces: bytes) -> tuple[Recorder, Client]:
    """A client that has sent this and shut its sending side."""
    app, connect = await place.start(Limits(sweep=0.02, linger_timeout=0.05))
    client = await connect()
    client.send(*pieces)
    client.writer.write_eof()
    return app, client


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_who_only_sends_no_more_gets_the_answers(place: Place, version: str) -> None:
    """All that was asked before the end is answered in order, then the connection ends."""
    fields = ["Connection: keep-alive"] if version == "1.0" else []
    _, client = await shut(place, b"".join(ask(f"/{i}", *fields, version=version) for i in range(70)))
    assert [f"/{i}" for i in range(70)] == [(await client.reply()).headers["x-path"] for _ in range(70)]
    assert b"" == await client.rest()


async def test_a_waiting_client_is_asked_once_whether_it_is_there(place: Place) -> None:
    """An answer that takes its time comes after one interim response, which HTTP/1.1 clients skip."""
    app, client = await shut(place, ask("/wait"))
    async with asyncio.timeout(5):
        assert b"HTTP/1.1 100 Continue\r\n\r\n" == await client.reader.readuntil(b"\r\n\r\n")
    later = await app_later(place)
    await later.turns(50)
    app.release.set()
    assert (200, "/wait") == ((reply := await client.reply()).status, reply.headers["x-path"])
    assert b"" == await client.rest()
    assert not app.cancelled.is_set()


async def app_later(place: Place) -> Client:
    """Another client of the same port."""
    reader, writer = await asyncio.open_connection("127.0.0.1", place.listeners[0].port)
    client = type(place.clients[0])(reader, writer)
    place.clients.append(client)
    return client


async def test_an_old_client_is_not_asked(place: Place) -> None:
    """HTTP/1.0 has no interim responses: its client is taken to wait."""
    app, client = await shut(place, ask("/wait", version="1.0"))
    probe = await app_later(place)
    await app.started.wait()
    begin = asyncio.get_running_loop().time()
    await probe.until(lambda: asyncio.get_running_loop().time() - begin > 0.1)
    app.release.set()
    assert 200 == (await client.reply()).status


@pytest.mark.parametrize(
    "piece",
    [b"GET /a HT", b"GET /a HTTP/1.1\r\nHost: h\r\n", b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabc"],
)
async def test_a_request_that_ends_early_is_400(place: Place, piece: bytes) -> None:
    """A head or a body cut off by its client's end is refused, and nothing of it is handed on."""
    app, client = await shut(place, piece)
    assert (400, "incomplete") == ((reply := await client.reply()).status, reply.headers["x-penstock-error"])
    assert b"" == await client.rest()
    assert [] == app.bodies


async def test_a_refused_body_that_ends_early_ends_the_connection(place: Place) -> None:
    """There is one answer, the refusal."""
    _, client = await shut(place, b"POST /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabc")
    assert 401 == (await client.reply()).status
    assert b"" == await client.rest()


async def test_an_idle_client_that_leaves_hears_nothing(place: Place) -> None:
    """Between requests the end is just the end."""
    app, client = await shut(place)
    assert b"" == await client.rest()
    assert [] == app.refused


def reset(client: Client) -> None:
    """Hangs up for good, and not only its sending side."""
    linger = struct.pack("ii", 1, 0)  # socket(7), SO_LINGER
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    client.writer.transport.abort()


async def test_a_body_that_stops_is_told_of(place: Place) -> None:
    """A client that is gone in the middle of what it was to send has left its body; one that was refused had none to send."""
    app, connect = await place.start()
    watcher = await connect()
    for path in ("/x", "/refuse"):
        client = await connect()
        client.send(f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc".encode())
        await watcher.until(lambda: path in [head.path for head in app.heads])  # noqa: B023 - called at once
        reset(client)
    await watcher.until(lambda: 1 == place.listeners[0].connections)
    assert ["body"] == app.leavings


async def test_an_answer_that_is_not_taken_is_told_of(place: Place) -> None:
    """A client that is gone in the middle of a large answer has left it; one that has all of it has not."""
    app, connect = await place.start()
    watcher, client = await connect(), await connect()
    assert 200 == (await client.ask(b"GET /big?100 HTTP/1.1\r\nHost: h\r\n\r\n")).status
    client.send(b"GET /big?20000000 HTTP/1.1\r\nHost: h\r\n\r\n")
    async with asyncio.timeout(5):
        await client.reader.readuntil(b"\r\n\r\n")
    client.writer.transport.abort()
    await watcher.until(lambda: 1 == place.listeners[0].connections)
    assert ["answer"] == app.leavings
