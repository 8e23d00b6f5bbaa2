"""The pool against real sockets that misbehave on demand, on both event loops."""

from __future__ import annotations

import asyncio
import socket
from array import array
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from backends.http1.pool import HttpPool, PoolLimits, UpstreamRequest, UpstreamResponse

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Script = Callable[[Reader, Writer], Awaitable[None]]
Serve = Callable[..., Awaitable[Any]]  # gives conftest's Backend


async def question(reader: Reader) -> bytes:
    """The body of the next request."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    return await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0))


def answer(body: bytes) -> bytes:
    """A whole answer."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def echo(reader: Reader, writer: Writer) -> None:
    """Answers every question with itself."""
    while True:
        writer.write(answer(await question(reader)))
        await writer.drain()


async def silent(reader: Reader, writer: Writer) -> None:
    """Never answers; ends when the client leaves."""
    await reader.read(-1)


def says(*parts: bytes, then: Script | None = None) -> Script:
    """Answers the n-th request with the n-th part, then follows `then`, or closes."""

    async def script(reader: Reader, writer: Writer) -> None:
        for part in parts:
            await question(reader)
            writer.write(part)
            await writer.drain()
        if then is not None:
            await then(reader, writer)
        writer.close()
        await writer.wait_closed()

    return script


def post(body: bytes | memoryview = b"q", *, repeatable: bool = True) -> UpstreamRequest:
    """A small question."""
    return UpstreamRequest("POST", "/", (), (body,), repeatable)


def soon(seconds: float = 5.0) -> Deadline:
    """A moment that many seconds from now."""
    return Deadline(asyncio.get_running_loop().time() + seconds)


async def refused(asking: Awaitable[UpstreamResponse]) -> InferenceError:
    """The error of an ask that fails; it names the backend and never its address."""
    with pytest.raises(InferenceError) as caught:
        await asking
    assert caught.value.source == "triton"
    assert "127.0.0.1" not in caught.value.message
    return caught.value


async def settled(pool: HttpPool, idle: int) -> None:
    """The loop has had its turns: nothing is in flight, so many connections are idle."""
    async with asyncio.timeout(5):
        while (pool.in_flight, pool.idle) != (0, idle):  # noqa: ASYNC110 — only the pool itself knows
            await asyncio.sleep(0)


async def test_connections_are_kept_and_used_last_in_first_out(serve: Serve) -> None:
    """Asks reuse the connection that was idle for the shortest time, so surplus ones can age."""
    backend = await serve(echo)
    pool = backend.pool()
    bodies = [b"a", b"b", b"c"]
    answers = await asyncio.gather(*[pool.ask(post(body), soon()) for body in bodies])
    assert bodies == [got.body for got in answers]
    assert (pool.idle, pool.in_flight, pool.connections) == (3, 0, 3)
    newest, oldest = pool._idle[-1], pool._idle[0]
    await pool.ask(post(), soon())
    assert (newest, oldest, 3) == (pool._idle[-1], pool._idle[0], backend.accepted)
    await pool.close()
    await backend.until_open(0)


async def test_large_bodies_pass_both_ways(serve: Serve) -> None:
    """Bodies far above every socket buffer arrive unchanged, views of other items than bytes among them."""
    backend = await serve(echo)
    pool = backend.pool()
    values = array("f", range(3_000_000))
    got = await pool.ask(UpstreamRequest("POST", "/", (), (b"head", memoryview(values))), soon(20))
    assert b"head" + values.tobytes() == got.body
    assert pool.idle == 1
    await pool.close()


async def test_cancelled_ask_closes_its_connection(serve: Serve) -> None:
    """The backend sees the client leave, and the connection is not used again."""
    backend = await serve(silent, echo)
    pool = backend.pool()
    asking = asyncio.create_task(pool.ask(post(), soon()))
    await backend.until_open(1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (pool.in_flight, pool.idle) == (0, 0)
    await backend.until_open(0)
    assert (await pool.ask(post(b"new"), soon())).body == b"new"
    assert backend.accepted == 2
    await pool.close()


async def test_cancelled_upload_is_not_finished(serve: Serve) -> None:
    """A cancelled ask does not go on sending a large body to a backend nobody waits for."""
    received = 0

    async def slow_reader(reader: Reader, writer: Writer) -> None:
        nonlocal received
        started.set()
        await left.wait()
        while piece := await reader.read(1 << 20):
            received += len(piece)

    started, left = asyncio.Event(), asyncio.Event()
    backend = await serve(slow_reader)
    asking = asyncio.create_task(backend.pool().ask(post(bytes(100 << 20)), soon()))
    await started.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    left.set()
    await backend.until_open(0)
    assert received < 50 << 20


async def test_deadline_closes_the_connection(serve: Serve) -> None:
    """A backend that is too slow, with the first byte or within its answer, costs DEADLINE and its connection."""
    backend = await serve(silent, says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", then=silent))
    pool = backend.pool()
    for _ in range(2):
        error = await refused(pool.ask(post(), soon(0.05)))
        assert ErrorKind.DEADLINE is error.kind
        assert (pool.in_flight, pool.idle) == (0, 0)
    await backend.until_open(0)


async def test_passed_deadline_touches_no_backend(serve: Serve) -> None:
    """Nobody is asked when time is up already."""
    backend = await serve(echo)
    error = await refused(backend.pool().ask(post(), soon(-1)))
    assert ErrorKind.DEADLINE is error.kind
    assert backend.accepted == 0


@pytest.mark.parametrize(
    "part",
    [b"", answer(b"whole")[:20], answer(b"whole")[:-1], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n", b"junk"],
)
async def test_answer_cut_in_the_middle_is_broken(serve: Serve, part: bytes) -> None:
    """A backend that leaves in the middle of its answer is BROKEN, and a fresh connection is not asked a second time."""
    backend = await serve(says(part))
    pool = backend.pool()
    error = await refused(pool.ask(post(), soon()))
    assert (error.kind, error.retryable) == (ErrorKind.BROKEN, False)
    assert (backend.accepted, pool.in_flight, pool.idle) == (1, 0, 0)


async def test_answer_until_eof_is_whole(serve: Serve) -> None:
    """An answer without a length ends with its connection."""
    backend = await serve(says(b"HTTP/1.0 200 OK\r\n\r\nall of it"))
    pool = backend.pool()
    assert (await pool.ask(post(), soon())).body == b"all of it"
    assert (pool.in_flight, pool.idle) == (0, 0)


async def test_unreachable_is_unavailable(serve: Serve) -> None:
    """A refused connection and a name that does not resolve say that another endpoint may do better."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port
        for host in ("127.0.0.1", "a..b", "no-such-host.invalid"):
            pool = HttpPool(host, closed.getsockname()[1], PoolLimits(), "triton")
            error = await refused(pool.ask(post(), soon()))
            assert (error.kind, error.retryable) == (ErrorKind.UNAVAILABLE, True)
            assert (pool.in_flight, pool.idle) == (0, 0)


@pytest.mark.parametrize(("deadline", "kind"), [(5.0, ErrorKind.UNAVAILABLE), (0.05, ErrorKind.DEADLINE)])
async def test_connecting_has_a_timeout(deadline: float, kind: ErrorKind) -> None:
    """A host that does not complete the handshake is UNAVAILABLE after the timeout, or DEADLINE if that comes first."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        fill = [socket.socket() for _ in range(4)]  # the backlog is full: further handshakes stay unanswered
        for one in fill:
            one.setblocking(False)
            one.connect_ex(deaf.getsockname())
        pool = HttpPool("127.0.0.1", deaf.getsockname()[1], PoolLimits(connect_timeout=0.2), "triton")
        error = await refused(pool.ask(post(), soon(deadline)))
        assert kind is error.kind
        assert pool.in_flight == 0
        for one in fill:
            one.close()


async def test_stale_connection_is_replaced_once(serve: Serve) -> None:
    """A kept connection that turns out to be closed is replaced unseen, if asking twice does no harm."""
    closing = says(answer(b"first"), b"")  # the second question on it is met by a close
    backend = await serve(closing, closing, echo)
    pool = backend.pool()
    assert (await pool.ask(post(), soon())).body == b"first"
    assert (await pool.ask(post(b"again"), soon())).body == b"first"
    error = await refused(pool.ask(post(repeatable=False), soon()))
    assert (error.kind, backend.accepted) == (ErrorKind.BROKEN, 2)
    assert (await pool.ask(post(b"last"), soon())).body == b"last"
    await pool.close()


async def test_stale_connection_is_replaced_only_once(serve: Serve) -> None:
    """A backend that closes the replacement, too, is BROKEN; so is one that closes after the first byte."""
    backend = await serve(says(answer(b"first"), b""), says(b""))
    pool = backend.pool()
    await pool.ask(post(), soon())
    assert ErrorKind.BROKEN is (await refused(pool.ask(post(), soon()))).kind
    assert backend.accepted == 2
    begun = await serve(says(answer(b"first"), b"H"))
    pool = begun.pool()
    await pool.ask(post(), soon())
    assert ErrorKind.BROKEN is (await refused(pool.ask(post(), soon()))).kind
    assert begun.accepted == 1


async def test_idle_connection_that_speaks_or_ends_is_dropped(serve: Serve) -> None:
    """Bytes nobody asked for, or the end, take an idle connection out of the pool without any ask."""
    release = asyncio.Event()

    async def speaks(reader: Reader, writer: Writer) -> None:
        await release.wait()
        writer.write(answer(b"for nobody"))
        await silent(reader, writer)

    async def ends(reader: Reader, writer: Writer) -> None:
        await release.wait()

    for script in (speaks, ends):
        release.clear()
        backend = await serve(says(answer(b"first"), then=script), echo)
        pool = backend.pool()
        await pool.ask(post(), soon())
        assert pool.idle == 1
        release.set()
        await settled(pool, idle=0)
        assert (await pool.ask(post(b"mine"), soon())).body == b"mine"
        await pool.close()


async def test_surplus_answer_is_never_delivered(serve: Serve) -> None:
    """A second answer sent along with the first is not taken for the answer to the next question."""
    backend = await serve(says(answer(b"first") + answer(b"surplus"), then=silent), echo)
    pool = backend.pool()
    assert (await pool.ask(post(), soon())).body == b"first"
    assert pool.idle == 0
    assert (await pool.ask(post(b"mine"), soon())).body == b"mine"
    await pool.close()


async def test_early_answer_is_delivered(serve: Serve) -> None:
    """An answer that comes before the body was sent is delivered, and the connection ends."""

    async def impatient(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await left.wait()
        await silent(reader, writer)

    left = asyncio.Event()
    backend = await serve(impatient)
    pool = backend.pool()
    got = await pool.ask(post(bytes(100 << 20)), soon())
    assert (got.status, pool.idle, pool.in_flight) == (413, 0, 0)
    left.set()
    await backend.until_open(0)


async def test_cap_is_kept_and_served_in_order(serve: Serve) -> None:
    """At the cap asks wait in order; one that is cancelled gives its place on."""
    backend = await serve(echo)
    pool = backend.pool(max_connections=1)
    done: list[bytes] = []

    async def ask(body: bytes) -> None:
        done.append((await pool.ask(post(body), soon())).body)

    tasks = [asyncio.create_task(ask(b"%d" % number)) for number in range(5)]
    await asyncio.sleep(0)  # every task has asked
    tasks[2].cancel()
    await asyncio.wait(tasks)
    assert (done, backend.accepted, pool.idle) == ([b"0", b"1", b"3", b"4"], 1, 1)
    await pool.close()


async def test_waiter_cancelled_while_given_a_place_passes_it_on(serve: Serve) -> None:
    """A place handed to somebody who leaves in that very moment is not lost."""
    backend = await serve(echo)
    pool = backend.pool(max_connections=1)
    first = asyncio.create_task(pool.ask(post(b"1"), soon()))
    await asyncio.sleep(0)
    second = asyncio.create_task(pool.ask(post(b"2"), soon()))
    third = asyncio.create_task(pool.ask(post(b"3"), soon()))
    first.add_done_callback(lambda _: second.cancel())  # runs after the place was given, before the second wakes
    assert (await third).body == b"3"
    assert second.cancelled()
    await settled(pool, idle=1)
    await pool.close()


async def test_waiting_ends_with_the_deadline(serve: Serve) -> None:
    """Who waits for a place hears DEADLINE in time, and its dead place does not stop those behind."""
    backend = await serve(silent, echo)
    pool = backend.pool(max_connections=1)
    holder = asyncio.create_task(pool.ask(post(), soon()))
    await backend.until_open(1)
    assert ErrorKind.DEADLINE is (await refused(pool.ask(post(), soon(0.02)))).kind
    assert not holder.done()
    behind = asyncio.create_task(pool.ask(post(b"behind"), soon()))
    await asyncio.sleep(0)
    holder.cancel()
    assert (await behind).body == b"behind"
    await settled(pool, idle=1)
    await pool.close()


async def test_place_of_a_failed_ask_goes_on(serve: Serve) -> None:
    """Failures give their place to the next in line, who opens a connection of its own."""
    backend = await serve(says(b"junk"), says(b""), echo)
    pool = backend.pool(max_connections=1)
    got = await asyncio.gather(*[pool.ask(post(), soon()) for _ in range(3)], return_exceptions=True)
    assert [InferenceError, InferenceError, UpstreamResponse] == [type(one) for one in got]
    assert (pool.in_flight, pool.idle) == (0, 1)
    await pool.close()


async def test_idle_connections_are_bounded_and_age(serve: Serve) -> None:
    """No more than `max_idle` are kept, and none longer than `idle_lifetime`, without any ask."""
    backend = await serve(echo)
    pool = backend.pool(max_idle=2, idle_lifetime=0.05)
    await asyncio.gather(*[pool.ask(post(), soon()) for _ in range(4)])
    assert pool.idle == 2
    await backend.until_open(0)
    assert pool.idle == 0
    await pool.ask(post(), soon())
    assert pool.idle == 1
    await backend.until_open(0)


async def test_close_lets_asks_finish(serve: Serve) -> None:
    """Closing ends idle connections, waits for asks in flight, and keeps nothing afterwards, not even for late asks."""
    release = asyncio.Event()

    async def patient(reader: Reader, writer: Writer) -> None:
        body = await question(reader)
        await release.wait()
        writer.write(answer(body))
        await silent(reader, writer)

    backend = await serve(echo, patient, echo)
    pool = backend.pool()
    await pool.ask(post(), soon())
    held = pool._idle.pop()  # as if another ask had it: the next one opens a connection
    asking = asyncio.create_task(pool.ask(post(b"kept"), soon()))
    await backend.until_open(2)
    pool._idle.append(held)
    closing = asyncio.create_task(pool.close())
    await backend.until_open(1)
    assert not closing.done()
    release.set()
    assert (await asking).body == b"kept"
    await closing
    await backend.until_open(0)
    assert (await pool.ask(post(b"late"), soon())).body == b"late"
    await backend.until_open(0)
    await pool.close()
