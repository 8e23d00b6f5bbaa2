"""A pool whose backend is named: its addresses are tried one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from backends.http1.pool import HttpPool, PoolLimits, UpstreamRequest
from backends.names import Host

Serve = Callable[..., Awaitable[Any]]  # gives conftest's Backend


def pool(port: int, addresses: Sequence[str], timeout: float = 1.0) -> HttpPool:
    """A pool for a name that has these addresses."""

    async def lookup(_: str) -> Sequence[str]:
        if not addresses:
            raise OSError("no such name")
        return addresses

    made = HttpPool("triton.internal", port, PoolLimits(connect_timeout=timeout), "triton")
    made._host = Host("triton.internal", lookup)
    return made


def soon() -> Deadline:
    return Deadline(asyncio.get_running_loop().time() + 5)


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers once."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    await reader.read(-1)


async def test_another_address_of_the_same_name(serve: Serve) -> None:
    """One that refuses, and one that says nothing, are passed over in the time that there is."""
    backend = await serve(answering)
    for _ in range(3):  # begins with another one each time
        named = pool(backend.port, ["127.0.0.2", "192.0.2.1", "127.0.0.1"], 0.3)
        named._host._turn = _
        assert 200 == (await named.ask(UpstreamRequest("GET", "/"), soon())).status
        await named.close()


@pytest.mark.parametrize("addresses", [[], ["127.0.0.2", "127.0.0.3"]])
async def test_a_name_that_leads_nowhere(serve: Serve, addresses: Sequence[str]) -> None:
    """Neither address takes connections, or there is none: UNAVAILABLE, so that another endpoint is asked."""
    backend = await serve(answering)
    named = pool(backend.port, addresses)
    with pytest.raises(InferenceError) as caught:
        await named.ask(UpstreamRequest("GET", "/"), soon())
    assert (ErrorKind.UNAVAILABLE, True) == (caught.value.kind, caught.value.retryable)
    await named.close()
