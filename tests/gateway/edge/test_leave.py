"""A port that is left: nothing that clients have sent is lost, and what comes goes elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from gateway.edge.leave import GOAWAY, dismiss, ignore_newcomers


def listening(port: int = 0) -> socket.socket:
    """One of several sockets that share a port."""
    made = socket.create_server(("127.0.0.1", port), reuse_port=True)
    made.setblocking(False)
    return made


async def connected(port: int, count: int) -> list[socket.socket]:
    """So many clients, of which some may still be waiting for an answer to their SYN."""
    clients = [socket.socket() for _ in range(count)]
    for client in clients:
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", port))
    await asyncio.sleep(0)
    return clients


def taken(server: socket.socket) -> list[socket.socket]:
    """Every connection in its queue."""
    found = list[socket.socket]()
    while True:
        try:
            found.append(server.accept()[0])
        except BlockingIOError:
            return found


async def test_newcomers_meet_the_others() -> None:
    """Who is in the queue stays there; who comes later repeats the SYN and is the other's when the socket is closed."""
    leaving = listening()
    staying = listening(leaving.getsockname()[1])
    early = await connected(leaving.getsockname()[1], 32)
    ignore_newcomers([leaving])
    late = await connected(leaving.getsockname()[1], 32)
    mine = taken(leaving)
    others = taken(staying)
    assert 4 < len(mine) < 28
    assert 32 < len(mine) + len(others) < 64
    leaving.close()
    async with asyncio.timeout(5):
        while len(mine) + len(others) < 64:
            others += taken(staying)
            await asyncio.sleep(0.01)
    for each in (*early, *late, *mine, *others, staying):
        each.close()


async def test_only_a_quiet_connection_is_written_to() -> None:
    """One whose client has not taken everything may have half a frame on its way; the port listens no more."""
    server = listening()
    port = server.getsockname()[1]
    quiet, stuffed = socket.create_connection(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port))
    ours = dict(zip(("quiet", "stuffed"), taken(server), strict=True))
    ours["stuffed"].setblocking(False)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += ours["stuffed"].send(b"x" * 65536)
    await dismiss(port, False, asyncio.Event(), 0.0)
    assert GOAWAY == quiet.recv(100)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port))
    ours["stuffed"].close()
    received = b""
    while piece := stuffed.recv(1 << 20):
        received += piece
    assert (sent, {b"x"}) == (len(received), {received[:1], received[-1:]})
    for each in (quiet, stuffed, ours["quiet"], server):
        each.close()


async def test_where_nobody_is_nobody_waits() -> None:
    """A port of our own without connections."""
    server = listening()
    async with asyncio.timeout(0.05):
        await dismiss(server.getsockname()[1], False, asyncio.Event(), 5.0)
    server.close()
