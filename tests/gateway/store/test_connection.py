"""Tests of gateway.store.connection: every command gets its own answer in time, or the connection ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.store.connection import Connection, packed
from gateway.store.trouble import StoreError
from tests.gateway.store.fake_redis import Command, FakeRedis

LIMIT = 0.05


def echo(command: Command) -> bytes:
    """The first argument of whatever is asked."""
    return b"$%d\r\n%s\r\n" % (len(command[1]), command[1])


class Opened:
    """A connection, and why it ended."""

    def __init__(self) -> None:
        self.ended: list[StoreError] = []

    async def to(self, server: FakeRedis, seconds: float = LIMIT) -> Connection:
        """Opens it."""
        loop = asyncio.get_running_loop()
        return (await loop.create_unix_connection(lambda: Connection(self.ended.append, seconds), server.address.path))[1]


async def test_answers_come_to_whom_asked(tmp_path: Path) -> None:
    """Hundreds at once, joined in one turn of the loop, each with its own answer."""
    async with FakeRedis(tmp_path, echo) as server:
        connection = await Opened().to(server, 5.0)
        answers = await asyncio.gather(*(connection.ask("ECHO", number) for number in range(500)))
        assert [str(number).encode() for number in range(500)] == answers
        connection.close()


async def test_a_question_that_nobody_waits_for_any_more_keeps_its_place(tmp_path: Path) -> None:
    """Cancelled questions are answered all the same; no answer goes to another question."""
    async with FakeRedis(tmp_path, echo) as server:
        connection = await Opened().to(server, 5.0)
        chance = random.Random(5)
        for turn in range(20):
            tasks = {number: asyncio.create_task(connection.ask("ECHO", 20 * turn + number)) for number in range(20)}
            await asyncio.sleep(0)  # now they are sent
            for number in chance.sample(range(20), 10):
                tasks.pop(number).cancel()
            assert [b"%d" % (20 * turn + number) for number in tasks] == await asyncio.gather(*tasks.values())
        assert 20 * 20 == len(server.heard)
        connection.close()


async def test_a_late_answer_ends_the_connection(tmp_path: Path) -> None:
    """Within the limit; everybody who waits is told, whoever comes later at once, and nothing is ever sent again."""
    async with FakeRedis(tmp_path, lambda _: None) as server:
        opened = Opened()
        connection = await opened.to(server)
        begin = asyncio.get_running_loop().time()
        found = await asyncio.gather(*(connection.ask("ECHO", number) for number in range(3)), return_exceptions=True)
        taken = asyncio.get_running_loop().time() - begin
        assert ["late"] * 3 == [each.reason for each in found if isinstance(each, StoreError)]
        assert LIMIT * 0.9 <= taken < 1
        assert ["late"] == [each.reason for each in opened.ended]
        with pytest.raises(StoreError, match="the connection has ended"):
            await connection.ask("ECHO", 1)
        assert connection.over


async def test_each_question_has_its_own_time(tmp_path: Path) -> None:
    """A connection that is used without a pause ends when one answer is late, and not before."""
    answers = iter([*[b"+OK\r\n"] * 30, *[None] * 1000])
    async with FakeRedis(tmp_path, lambda _: next(answers)) as server:
        opened = Opened()
        connection = await opened.to(server, 0.2)
        for _ in range(30):
            assert b"OK" == await connection.ask("PING", 1)
            await asyncio.sleep(0.01)
        assert [] == opened.ended
        with pytest.raises(StoreError, match="no answer within 200 ms"):
            await connection.ask("PING", 1)


async def test_a_loop_that_was_held_up_reads_before_it_judges(tmp_path: Path) -> None:
    """An answer that came in time is not late because this process was."""
    async with FakeRedis(tmp_path, echo) as server:
        opened = Opened()
        connection = await opened.to(server)
        loop = asyncio.get_running_loop()
        asked = asyncio.ensure_future(connection.ask("ECHO", 7))
        await _until(lambda: bool(server.heard))
        held = loop.time() + 2 * LIMIT
        while loop.time() < held:  # nothing else runs meanwhile
            pass
        assert b"7" == await asked
        assert [] == opened.ended
        server.answer = lambda _: None
        with pytest.raises(StoreError, match="no answer"):  # it goes on looking
            await connection.ask("ECHO", 8)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\x01\x02\r\n",
        b"$-5\r\n",
        b"*-7\r\n",
        b":12x\r\n",
        b"*2147483647\r\n" * 8,
        b"*1\r\n" * 64,
        b"$9999999\r\n" + b"x" * 2_000_000,
    ],
)
async def test_what_is_not_redis_ends_the_connection(tmp_path: Path, answer: bytes) -> None:
    """Whatever comes, whoever asked is told that nothing can be had, and soon."""
    async with FakeRedis(tmp_path, lambda _: answer) as server:
        opened = Opened()
        connection = await opened.to(server)
        with pytest.raises(StoreError) as refused:
            await connection.ask("PING")
        assert refused.value.reason in ("garbled", "late", "closed")
        assert [refused.value] == opened.ended


async def test_an_answer_that_nobody_asked_for_ends_the_connection(tmp_path: Path) -> None:
    """From there on whose answer is whose cannot be told."""
    async with FakeRedis(tmp_path, lambda _: b"+OK\r\n+AND\r\n") as server:
        opened = Opened()
        connection = await opened.to(server)
        assert b"OK" == await connection.ask("PING")
        await _until(lambda: bool(opened.ended))
        assert ["garbled"] == [each.reason for each in opened.ended]


async def test_a_refusal_is_an_answer(tmp_path: Path) -> None:
    """It is raised where it was asked for; with `heard` it ends the connection."""
    async with FakeRedis(tmp_path, lambda _: b"-OOM command not allowed\r\n") as server:
        opened = Opened()
        connection = await opened.to(server)
        with pytest.raises(StoreError) as refused:
            await connection.ask("SET", "a", "b")
        assert ("full", []) == (refused.value.reason, opened.ended)
        connection.send(packed("SET", "a", "b"), connection.heard)
        await _until(lambda: bool(opened.ended))
        assert ["full"] == [each.reason for each in opened.ended]


async def test_the_other_side_ends_it(tmp_path: Path) -> None:
    """Whoever waits is told at once."""
    async with FakeRedis(tmp_path, lambda _: None) as server:
        opened = Opened()
        connection = await opened.to(server, 5.0)
        asked = asyncio.ensure_future(connection.ask("PING"))
        await _until(lambda: bool(server.heard))
        server.drop()
        with pytest.raises(StoreError, match="it closed the connection"):
            await asked
        assert ["closed"] == [each.reason for each in opened.ended]


async def test_who_ends_it_need_not_be_told(tmp_path: Path) -> None:
    """`close` tells those who wait, and not the owner."""
    async with FakeRedis(tmp_path, lambda _: None) as server:
        opened = Opened()
        connection = await opened.to(server, 5.0)
        asked = asyncio.ensure_future(connection.ask("PING"))
        await asyncio.sleep(0)
        connection.close()
        with pytest.raises(StoreError):
            await asked
        assert [] == opened.ended


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for is seen from outside only
            await asyncio.sleep(0.001)
