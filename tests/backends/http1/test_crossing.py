"""No answer is ever given to another's question, however many askers leave in the middle."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from backends.deadline import Deadline
from backends.http1.pool import UpstreamRequest, UpstreamResponse

Serve = Callable[..., Awaitable[Any]]
Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


async def body_of(reader: Reader) -> bytes:
    """The body of the next message, a question or an answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    return await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))


async def echo_late(reader: Reader, writer: Writer) -> None:
    """Answers every question with itself, after a random while."""
    while True:
        body = await body_of(reader)
        await asyncio.sleep(random.random() * 0.01)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()


async def crossings(ask: Callable[[bytes], Awaitable[bytes]], asks: int) -> tuple[int, int, int]:
    """Of `asks` numbered asks, 32 at a time and half of them cancelled at random: crossed, right, cancelled."""
    crossed = right = cancelled = 0
    numbers = iter(range(asks))
    loop = asyncio.get_running_loop()

    async def asker() -> None:
        nonlocal crossed, right, cancelled
        for number in numbers:
            body = b"%d" % number
            task = asyncio.ensure_future(ask(body))
            if random.random() < 0.5:
                loop.call_later(random.random() * 0.01, task.cancel)
            try:
                got = await task
            except asyncio.CancelledError:
                cancelled += 1
            else:
                crossed += got != body
                right += got == body

    await asyncio.gather(*[asker() for _ in range(32)])
    return crossed, right, cancelled


async def test_no_answer_is_ever_crossed(serve: Serve) -> None:
    """Of 2 000 asks, a random half cancelled in flight, every answer equals its question and nothing stays in flight."""
    backend = await serve(echo_late)
    pool = backend.pool(max_connections=24)

    async def ask(body: bytes) -> bytes:
        request = UpstreamRequest("POST", "/", (), (body,))
        got: UpstreamResponse = await pool.ask(request, Deadline(asyncio.get_running_loop().time() + 5))
        return got.body

    crossed, right, cancelled = await crossings(ask, 2000)
    assert (crossed, right + cancelled) == (0, 2000)
    assert right > 500
    assert cancelled > 200
    assert (0, pool.idle) == (pool.in_flight, pool.connections)
    await backend.until_open(pool.idle)
    await pool.close()
    await backend.until_open(0)


async def test_naive_pool_crosses(serve: Serve) -> None:
    """The control: a pool that takes a cancelled ask's connection back does give one client another's answer."""
    backend = await serve(echo_late)
    idle: list[tuple[Reader, Writer]] = []

    async def ask(body: bytes) -> bytes:
        reader, writer = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", backend.port)
        try:
            writer.write(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            return await body_of(reader)
        finally:
            idle.append((reader, writer))

    crossed, _, _ = await crossings(ask, 500)
    assert crossed > 0
    for _, writer in idle:
        writer.transport.abort()
    await backend.until_open(0)
