"""Clients that send no more, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from gateway.edge import reply
from gateway.edge.absent import ASK_AGAIN, may_be_there


@pytest.fixture
async def ends() -> AsyncIterator[tuple[asyncio.Transport, socket.socket]]:
    """Our side, and a client's."""
    came: asyncio.Queue[asyncio.Transport] = asyncio.Queue()

    class Side(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            came.put_nowait(transport)  # type: ignore[arg-type]

        def eof_received(self) -> bool:
            return True

    server = await asyncio.get_running_loop().create_server(Side, "127.0.0.1", 0)
    client = socket.create_connection(server.sockets[0].getsockname())
    transport = await came.get()
    yield transport, client
    transport.abort()
    client.close()
    server.close()


@pytest.mark.parametrize(("pause", "modern"), [(ASK_AGAIN, True), (4 * ASK_AGAIN, True), (2 * ASK_AGAIN, False)])
async def test_it_is_not_asked_each_time(ends: tuple[asyncio.Transport, socket.socket], pause: float, modern: bool) -> None:
    """Neither the first time, nor the third, nor a client of old."""
    transport, client = ends
    assert may_be_there(transport, pause, modern)
    transport.write(b"end")
    assert b"end" == client.recv(100)


async def test_one_that_is_there_is_asked_once(ends: tuple[asyncio.Transport, socket.socket]) -> None:
    """By a word that it skips."""
    transport, client = ends
    assert may_be_there(transport, 2 * ASK_AGAIN, True)
    assert reply.CONTINUE == client.recv(100)
    assert not transport.is_closing()


async def test_one_that_has_left(ends: tuple[asyncio.Transport, socket.socket]) -> None:
    """Answers what it is asked with a reset, and its connection is over."""
    transport, client = ends
    client.close()
    async with asyncio.timeout(5):
        while may_be_there(transport, 2 * ASK_AGAIN, True):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)
    assert transport.is_closing()
