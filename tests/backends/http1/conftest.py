"""Backends over real sockets that misbehave on demand; every asynchronous test here runs on both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest
import uvloop

from backends.http1.pool import HttpPool, PoolLimits

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Script = Callable[[Reader, Writer], Awaitable[None]]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Read by pytest-asyncio."""
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


@dataclass
class Backend:
    """A server whose n-th connection follows the n-th script, further ones the last."""

    scripts: tuple[Script, ...]
    port: int = 0
    accepted: int = 0
    open: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def serve(self, reader: Reader, writer: Writer) -> None:
        script = self.scripts[min(self.accepted, len(self.scripts) - 1)]
        await self.count(1)
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client left
        finally:
            writer.transport.abort()
            await self.count(-1)

    async def count(self, step: int) -> None:
        async with self.changed:
            self.open += step
            self.accepted += max(0, step)
            self.changed.notify_all()

    async def until_open(self, count: int) -> None:
        async with asyncio.timeout(5), self.changed:
            await self.changed.wait_for(lambda: self.open == count)

    def pool(self, **limits: float) -> HttpPool:
        return HttpPool("127.0.0.1", self.port, replace(PoolLimits(), **limits), "triton")  # type: ignore[arg-type]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Backend]]]:
    """Starts servers that follow scripts, and stops them."""
    servers: list[asyncio.Server] = []

    async def start(*scripts: Script) -> Backend:
        backend = Backend(scripts)
        server = await asyncio.start_server(backend.serve, "127.0.0.1", 0, limit=1 << 20)
        servers.append(server)
        backend.port = server.sockets[0].getsockname()[1]
        return backend

    yield start
    for server in servers:
        server.close()
