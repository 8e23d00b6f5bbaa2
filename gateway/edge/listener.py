"""The HTTP/1.1 port: binding, the sweep that keeps every connection's clocks, and an orderly end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from email.utils import formatdate
from time import monotonic

from gateway.edge.http1 import Connection
from gateway.edge.limits import Limits
from gateway.edge.messages import Application
from gateway.edge.shared import Shared

_BACKLOG = 1024
_LAST_WORDS = 5.0  # seconds for cancelled requests to clean up after themselves


class HttpListener:
    """A bound, serving port; made by `listen`, ended by `drain`."""

    def __init__(self, shared: Shared, server: asyncio.Server) -> None:
        self._shared = shared
        self._server = server
        self.port: int = server.sockets[0].getsockname()[1]
        self._timer = asyncio.get_running_loop().call_soon(self._sweep)

    @property
    def connections(self) -> int:
        """How many connections hold a socket or a task."""
        return len(self._shared.connections)

    async def drain(self, grace: float) -> None:
        """Stops accepting, closes idle connections, lets requests finish for `grace` seconds, then cancels the rest."""
        shared = self._shared
        self._server.close()
        shared.draining = True
        for connection in tuple(shared.connections):
            connection.retire()
        await self._empty(grace)
        for connection in tuple(shared.connections):
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
        now = monotonic()
        for connection in tuple(self._shared.connections):
            connection.tick(now)


async def listen(app: Application, host: str, port: int, limits: Limits, reuse_port: bool = False) -> HttpListener:
    """Binds `host`:`port` (0 takes a free one), with `reuse_port` beside others who do the same, and serves `app` there.

    Raises OSError when the address cannot be had.
    """
    shared, loop = Shared(app, limits), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(shared), host, port, backlog=_BACKLOG, reuse_port=reuse_port)
    return HttpListener(shared, server)
