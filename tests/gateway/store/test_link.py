"""Tests of gateway.store.link: a connection that is made in the background, and what is said of it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from backends.breaker import State
from gateway.store.address import PASSWORD, Address
from gateway.store.connection import Connection
from gateway.store.link import Link
from gateway.store.login import Login
from gateway.store.trouble import StoreError
from tests.gateway.store.fake_redis import Command, FakeRedis

OK = b"+OK\r\n"
BACK = 1.0  # seconds in which it must be normal again after the server's return


def well(_: Command) -> bytes:
    """All is well."""
    return OK


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[FakeRedis]:
    """A server that says OK to everything."""
    async with FakeRedis(tmp_path, well) as running:
        yield running


async def ping(connection: Connection) -> None:
    """What a user of the link may want of each new connection."""
    await connection.ask("PING")


def link_to(address: Address, login: Login = Login()) -> Link:  # noqa: B008 - a frozen value
    """A link that greets."""
    link = Link(address, login)
    link.greets = [ping]
    return link


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> float:
    """How long it took."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is seen from outside only
            await asyncio.sleep(0.002)
    return loop.time() - begin


async def test_a_link_opens_and_greets(server: FakeRedis) -> None:
    """Only then may anybody ask over it."""
    link = link_to(server.address)
    assert (False, None) == (link.up, link.connection)
    assert await link.attempt()
    assert (True, State.CLOSED) == (link.up, link.breaker.state)
    assert link.connection is not None
    assert [[b"PING"]] == server.heard
    link.close()


async def test_it_gets_in_with_user_password_and_database(
    server: FakeRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order that Redis wants them."""
    (tmp_path / "password").write_text("hunter2\n")
    link = link_to(Address(path=server.address.path, user="limits", database=3), Login(tmp_path / "password"))
    assert await link.attempt()
    link.close()
    monkeypatch.setenv(PASSWORD, "other")
    link = link_to(server.address)
    assert await link.attempt()
    link.close()
    assert [[b"AUTH", b"limits", b"hunter2"], [b"SELECT", b"3"], [b"PING"], [b"AUTH", b"other"], [b"PING"]] == server.heard


async def test_whoever_is_not_there_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In the background, said once; and said when it is there."""
    link = link_to(Address(path=str(tmp_path / "redis.sock")))
    keeping = asyncio.create_task(link.keep())
    await until(lambda: bool(caplog.records))
    await asyncio.sleep(0.8)  # long enough for two more tries
    assert (1, State.OPEN, None) == (len(caplog.records), link.breaker.state, link.connection)
    async with FakeRedis(tmp_path, well) as server:
        assert await until(lambda: link.up) < BACK
        assert server.address.path in caplog.text
    assert ["No such file or directory" in caplog.messages[0], "answers" in caplog.messages[1]] == [True, True]
    keeping.cancel()
    link.close()


async def test_a_connection_that_ends_opens_the_breaker_at_once(server: FakeRedis) -> None:
    """Nobody asks over it any more; the background makes another."""
    link = link_to(server.address)
    keeping = asyncio.create_task(link.keep())
    await until(lambda: link.up)
    first = link.connection
    server.drop()
    await until(lambda: link.connection is not first)
    assert (State.OPEN, None) == (link.breaker.state, link.connection)
    assert await until(lambda: link.up) < BACK
    assert link.connection is not first
    keeping.cancel()
    link.close()


async def test_a_connection_takes_the_place_of_another(server: FakeRedis, tmp_path: Path) -> None:
    """To whoever is at the address now; the one before answers what it was asked, and its end is nobody's loss."""
    link = link_to(server.address)
    assert await link.attempt()
    first = link.connection
    assert first is not None
    async with FakeRedis(tmp_path, lambda command: None if command == [b"SLOW"] else OK) as other:
        waiting = asyncio.create_task(first.ask("PING", "old"))
        await link.again()
        assert (True, [[b"PING"]], True) == (link.up, other.heard, link.connection is not first)
        assert b"OK" == await waiting
        await until(lambda: first.over)
        assert link.up
        second = link.connection
    assert second is not None
    (tmp_path / "redis.sock").unlink(missing_ok=True)
    await until(lambda: second.over)
    await until(lambda: not link.up)
    await link.again()  # nobody is there
    assert (None, False) == (link.connection, link.up)
    link.close()


async def test_whoever_cannot_be_had_instead_changes_nothing(server: FakeRedis) -> None:
    """The connection there is goes on."""
    link = link_to(server.address)
    assert await link.attempt()
    first = link.connection
    server.answer = lambda command: b"-LOADING soon\r\n" if command == [b"PING"] else OK
    await link.again()
    assert (first, True) == (link.connection, link.up)
    link.close()


async def test_a_server_that_hangs_is_no_store(server: FakeRedis) -> None:
    """It takes the connection and never answers: the greeting ends in time, and so does the connection."""
    server.answer = lambda _: None
    link = link_to(server.address)
    begin = asyncio.get_running_loop().time()
    assert not await link.attempt()
    assert asyncio.get_running_loop().time() - begin < 0.5
    server.answer = well
    assert await link.attempt()
    link.close()


async def test_a_port_that_swallows_everything_is_no_store() -> None:
    """Connecting itself has an end; nobody waits for it anyway."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.create_connection(full.getsockname()), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(full.getsockname())  # the backlog is full: further packets are dropped
            link = link_to(Address("127.0.0.1", full.getsockname()[1]))
            assert not await link.attempt()
            link.close()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"-WRONGPASS invalid username-password pair\r\n", "redis.password_file or PENSTOCK_REDIS_PASSWORD"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", "this ends by itself"),
        (b"HTTP/1.0 400 Bad Request\r\n\r\n", "is it a Redis server"),
    ],
)
async def test_a_refusal_is_said_with_what_to_do(
    server: FakeRedis, caplog: pytest.LogCaptureFixture, answer: bytes, says: str
) -> None:
    """Once, however often it is tried; another trouble is said too, and the return."""
    server.answer = lambda _: answer
    link = link_to(server.address)
    for _ in range(3):
        assert not await link.attempt()
    assert [True] == [says in message for message in caplog.messages]
    server.answer = lambda _: b"-OOM command not allowed\r\n"
    assert not await link.attempt()
    server.answer = well
    assert await link.attempt()
    assert ["maxmemory" in caplog.messages[1], "answers" in caplog.messages[2], 3] == [True, True, len(caplog.messages)]
    link.close()


async def test_a_trouble_that_comes_and_goes_is_not_said_each_time(
    server: FakeRedis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor in every minute of a long one; but one that was passed over is said if it stays."""
    now = [1000.0]
    monkeypatch.setattr("gateway.store.link.monotonic", lambda: now[0])
    link = link_to(server.address)

    async def broken(seconds: float) -> list[bool]:
        """What was said in that time: whether it is a trouble."""
        server.answer = lambda _: b"-LOADING Redis is loading the dataset in memory\r\n"
        caplog.clear()
        for _ in range(3):
            now[0] += seconds / 3
            assert not await link.attempt()
        return ["LOADING" in message for message in caplog.messages]

    async def mended() -> int:
        """How often something was said of that."""
        server.answer = well
        caplog.clear()
        assert await link.attempt()
        assert link.connection is not None
        link.connection.fail(StoreError("loading", "it answers LOADING"))
        return sum("answers" in message and "LOADING" not in message for message in caplog.messages)

    assert ([True], 1) == (await broken(30), await mended())
    assert ([], 0) == (await broken(3), await mended())
    assert ([True], 1) == (await broken(120), await mended())  # which says of its end, too, that it is away
    assert [] == await broken(600)
    link.close()


async def test_no_password_is_ever_said(server: FakeRedis, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also where the server repeats it."""
    caplog.set_level(logging.DEBUG)
    (tmp_path / "password").write_text("hunter2")
    server.answer = lambda command: b"-ERR unknown command AUTH %s\r\n" % command[-1]
    link = link_to(server.address, Login(tmp_path / "password"))
    assert not await link.attempt()
    assert "store" in caplog.text
    assert "hunter2" not in caplog.text
    link.close()


async def test_an_attempt_that_is_given_up_leaves_nothing(server: FakeRedis) -> None:
    """Its connection ends, and the next attempt may be the probe."""
    arrived = asyncio.Event()
    opened: list[Connection] = []

    async def hang(connection: Connection) -> None:
        opened.append(connection)
        arrived.set()
        await asyncio.Event().wait()

    link = Link(server.address, Login())
    link.greets = [hang]
    attempt = asyncio.create_task(link.attempt())
    await arrived.wait()
    attempt.cancel()
    await asyncio.wait((attempt,))
    assert (True, State.HALF_OPEN, False) == (opened[0].over, link.breaker.state, link.breaker.probing)
    link.greets = [ping]
    assert await link.attempt()
    link.close()


async def test_a_connection_that_ends_while_it_is_greeted_is_not_used(server: FakeRedis) -> None:
    """However the greeting itself took it."""

    async def greet(connection: Connection) -> None:
        connection.fail(StoreError("closed", "it closed the connection"))

    link = Link(server.address, Login())
    link.greets = [greet]
    assert not await link.attempt()
    assert (State.OPEN, None) == (link.breaker.state, link.connection)
