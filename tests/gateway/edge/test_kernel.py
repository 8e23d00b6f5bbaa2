"""What the kernel tells of a socket that the loop does not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from gateway.edge import kernel


class Kept(asyncio.Protocol):
    """Keeps its side open when the other ends its own."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def eof_received(self) -> bool:
        self.ended.set()
        return True


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.002)


async def accepting() -> tuple[asyncio.Server, list[Kept]]:
    """A port, and whoever has come."""
    kept: list[Kept] = []

    def accept() -> Kept:
        kept.append(Kept())
        return kept[-1]

    return await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0), kept


async def test_lost_tells_a_client_that_left_from_one_that_only_sends_no_more() -> None:
    """Both have sent FIN; after something was sent to them, only the one that left has reset the connection."""
    server, kept = await accepting()
    there, gone = (socket.create_connection(server.sockets[0].getsockname()) for _ in range(2))
    await until(lambda: len(kept) == 2)
    there.shutdown(socket.SHUT_WR)
    gone.close()
    for each in kept:
        async with asyncio.timeout(5):
            await each.ended.wait()
        assert not kernel.lost(each.transport)
        each.transport.write(b"x")
    await until(lambda: kernel.lost(kept[1].transport))
    assert not kernel.lost(kept[0].transport)
    assert b"x" == there.recv(1)
    there.close()
    for each in kept:
        each.transport.abort()
    server.close()


async def test_untaken_counts_what_the_kernel_holds() -> None:
    """All that was written and not yet read counts, in the loop's buffer or in the kernel's; what is read counts no more."""
    ours, theirs = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    assert 0 == kernel.untaken(transport)
    transport.write(bytes(5_000_000))
    assert kernel.untaken(transport) >= transport.get_write_buffer_size() > 0
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    left = 5_000_000
    while left:
        left -= len(await loop.sock_recv(theirs, 1 << 20))
    await until(lambda: kernel.untaken(transport) == 0)
    transport.abort()
    theirs.close()


async def test_the_balance_falls_by_what_is_taken_alone() -> None:
    """Of TCP on Linux; elsewhere it is what has not been taken."""
    server, made = await accepting()
    theirs = socket.socket()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    theirs.connect(server.sockets[0].getsockname())
    await until(lambda: bool(made))
    transport = made[0].transport
    transport.write(bytes(8_000_000))
    await asyncio.sleep(0.05)
    before, waiting = kernel.balance(transport), kernel.untaken(transport)
    transport.write(bytes(1000))
    assert (before, waiting + 1000) == (kernel.balance(transport), kernel.untaken(transport))
    assert before < 0 < waiting
    theirs.setblocking(False)
    taken = 0
    while taken < 100_000:
        try:
            taken += len(theirs.recv(65536))
        except BlockingIOError:
            await asyncio.sleep(0.002)
    assert kernel.balance(transport) <= before - 100_000 + 65536
    transport.abort()
    theirs.close()
    server.close()


async def test_without_tcp_the_balance_is_what_was_not_taken() -> None:
    """A socket of another family counts nothing that was taken."""
    ours, theirs = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    transport.write(bytes(5_000_000))
    assert kernel.balance(transport) == kernel.untaken(transport) > 0
    transport.abort()
    theirs.close()
