"""The HTTP/1.1 port: binding, the sweep that keeps every connection's clocks, and an orderly end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from email.utils import formatdate
from socket import SO_REUSEADDR, SOL_SOCKET, socket
from time import monotonic

from gateway.edge.http1 import Connection
from gateway.edge.leave import close_off
from gateway.edge.limits import Limits
from gateway.edge.messages import Application
from gateway.edge.shared import Shared

_BACKLOG = 1024
_LAST_WORDS = 5.0  # seconds for cancelled requests to clean up after themselves


class HttpListener:
    """A bound, serving port; made by `listen`, ended by `drain`."""

    def __init__(self, shared: Shared, servers: Sequence[asyncio.Server]) -> None:
        self._shared = shared
        self._servers = servers
        self.port: int = servers[0].sockets[0].getsockname()[1]
        self._timer = asyncio.get_running_loop().call_soon(self._sweep)

    @property
    def connections(self) -> int:
        """How many connections hold a socket or a task."""
        return len(self._shared.connections)

    async def drain(self, grace: float, idle: float = 0.0, shared: bool = False) -> None:
        """Stops accepting, lets requests finish for `grace` seconds, then cancels the rest.

        Every answer ends its connection. One without a request has `idle` seconds of the grace for its next. A port that others
        share (`shared`) is closed off first, see gateway.edge.leave.
        """
        servers = self._servers
        if shared:
            await close_off([socket for server in servers for socket in server.sockets])
        for server in servers:
            server.close()
        await asyncio.sleep(0)  # what is accepted already is told to its connection in the loop's next turn
        connections, self._shared.draining = self._shared.connections, True
        idle = min(idle, grace)
        if idle:
            await self._empty(idle)
        for connection in tuple(connections):
            connection.retire()
        await self._empty(grace - idle)
        for connection in tuple(connections):
            connection.abandon()
        await self._empty(_LAST_WORDS)
        self._timer.cancel()

    async def _empty(self, seconds: float) -> None:
        if self._shared.connections:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._shared.emptied.wait()

    def _sweep(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._shared.limits.sweep, self._sweep)
        self._shared.date = f"Date: {formatdate(usegmt=True)}\r\n"
        self._shared.date_line = self._shared.date.encode()
        now = monotonic()
        for connection in tuple(self._shared.connections):
            connection.tick(now)


async def listen(app: Application, host: str, port: int, limits: Limits, reuse_port: bool = False) -> HttpListener:
    """Binds `host`:`port` (0 takes a free one), with `reuse_port` beside others who do the same, and serves `app` there.

    Raises OSError when the address cannot be had.
    """
    shared, loop = Shared(app, limits), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(shared), host, port, backlog=_BACKLOG, reuse_port=reuse_port)
    return HttpListener(shared, (server,))


async def serve(app: Application, sockets: Sequence[socket], limits: Limits) -> HttpListener:
    """Serves `app` on sockets that are bound, and that may outlive it elsewhere."""
    shared, loop = Shared(app, limits), asyncio.get_running_loop()
    for each in sockets:
        each.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)  # as any server's, for who takes the port after connections that are over
    servers = [await loop.create_server(lambda: Connection(shared), sock=each, backlog=_BACKLOG) for each in sockets]
    return HttpListener(shared, servers)
