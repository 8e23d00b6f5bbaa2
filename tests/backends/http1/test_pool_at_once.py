"""Connections that are taken where nobody need wait for one, and left again."""

from __future__ import annotations

import asyncio
from typing import Any

from backends.http1.connection import Connection
from backends.http1.messages import framed
from backends.promise import Promise
from tests.backends.http1.test_pool import Reader, Serve, Writer, echo, post, question, says, silent, soon


def send(pool: Any, connection: Connection, body: bytes) -> Promise[Any]:
    """The answer to come."""
    answer: Promise[Any] = Promise(asyncio.get_running_loop())
    connection.send(framed(post(body), pool.authority), answer, head_only=False)
    return answer


async def test_an_idle_one_is_taken_and_left(serve: Serve) -> None:
    """Whoever asks by it holds its place; there is none until one is idle, nor while it is taken."""
    backend = await serve(echo)
    pool = backend.pool()
    assert pool.take() is None
    await pool.ask(post(), soon())
    connection = pool.take()
    assert (1, 0, True) == (pool.in_flight, pool.idle, connection.writable)
    assert pool.take() is None
    answer = send(pool, connection, b"mine")
    assert not connection.writable
    assert b"mine" == (await answer).body
    pool.leave(connection)
    assert (0, 1, 1) == (pool.in_flight, pool.idle, backend.accepted)
    await pool.close()
    assert pool.take() is None


async def test_one_that_is_left_unanswered_is_closed(serve: Serve) -> None:
    """It is nobody's any more, and neither is its place."""
    backend = await serve(echo)
    pool = backend.pool()
    await pool.ask(post(), soon())
    connection = pool.take()
    send(pool, connection, b"mine")
    pool.leave(connection)
    assert (0, 0) == (pool.in_flight, pool.idle)
    await backend.until_open(0)
    await pool.close()


async def test_it_is_handed_on_to_who_waits(serve: Serve) -> None:
    """Under the bound of connections, first come first served."""
    backend = await serve(echo)
    pool = backend.pool(max_connections=1)
    await pool.ask(post(), soon())
    connection = pool.take()
    asking = asyncio.create_task(pool.ask(post(b"waits"), soon()))
    await asyncio.sleep(0)
    pool.leave(connection)
    assert b"waits" == (await asking).body
    assert (0, 1, 1) == (pool.in_flight, pool.idle, backend.accepted)
    await pool.close()


async def test_a_pool_that_closes_waits_for_it(serve: Serve) -> None:
    """And keeps it no longer."""
    backend = await serve(echo)
    pool = backend.pool()
    await pool.ask(post(), soon())
    connection = pool.take()
    closing = asyncio.create_task(pool.close())
    await asyncio.sleep(0)
    assert not closing.done()
    assert pool.take() is None
    pool.leave(connection)
    await closing
    await backend.until_open(0)


async def test_one_whose_end_is_not_known_yet_is_not_taken(serve: Serve) -> None:
    """Its transport is closing; its place is not kept."""
    backend = await serve(echo)
    pool = backend.pool()
    await pool.ask(post(), soon())
    pool._idle[0]._transport.close()
    assert pool.take() is None
    assert 0 == pool.in_flight
    await backend.until_open(0)
    assert 0 == pool.connections
    await pool.close()


async def test_one_that_ends_while_it_is_taken(serve: Serve) -> None:
    """Is not kept."""
    release = asyncio.Event()

    async def brief(reader: Reader, writer: Writer) -> None:
        await question(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await release.wait()

    backend = await serve(brief)
    pool = backend.pool()
    await pool.ask(post(), soon())
    connection = pool.take()
    release.set()
    async with asyncio.timeout(5):
        while connection.reusable:  # noqa: ASYNC110 - nobody waits for an answer, so nobody is told
            await asyncio.sleep(0.001)
    assert not connection.writable
    pool.leave(connection)
    assert (0, 0) == (pool.in_flight, pool.idle)
    await pool.close()


async def test_bytes_that_came_before_the_question_are_no_answer(serve: Serve) -> None:
    """Who answers too early is not asked."""
    early = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    backend = await serve(says(early + early, then=silent), echo)
    pool = backend.pool()
    await pool.ask(post(), soon())
    assert pool.take() is None
    await pool.close()


async def test_a_fresh_ask_trusts_no_idle_connection(serve: Serve) -> None:
    """It takes the place of one and makes its own."""
    backend = await serve(echo)
    pool = backend.pool(max_connections=2)
    await asyncio.gather(*[pool.ask(post(), soon()) for _ in range(2)])
    assert (2, 2) == (pool.idle, pool.connections)
    await pool.ask(post(), soon(), fresh=True)
    assert (2, 2, 3) == (pool.idle, pool.connections, backend.accepted)
