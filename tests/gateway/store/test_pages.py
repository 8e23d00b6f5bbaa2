"""Pages of rollouts in a real Redis: whoever writes has read what is there, and whoever is there is seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.rollout.words import Look, There, Write
from gateway.store.address import parse
from gateway.store.link import Link
from gateway.store.login import Login
from gateway.store.pages import ANSWER_SECONDS, GATEWAYS, PREFIX, StorePages
from tests.real_parts import Redis

pytestmark = pytest.mark.slow

FIRST = Write("key", ("", 0), "line", 1, b"one", b"units")
RIGHTS = "+@connection +@scripting +hget +hset +hdel +hexists +hincrby +hlen +hgetall +get +mget +set +del +pexpire +pttl +time"


class Bench:
    """A way to one Redis."""

    def __init__(self, url: str, login: Login = Login()) -> None:  # noqa: B008 - a frozen value
        self.link = Link(parse(url), login, ANSWER_SECONDS)
        self.tasks: list[asyncio.Task[None]] = []
        self.pages = StorePages(self.link, self.spawn)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self.tasks.append(asyncio.create_task(work, name=name))

    async def look(self, known: tuple[str, int, int] = ("", 0, 0), name: str = "gate") -> There:
        there = await self.pages.look(Look("key", name, b"here", *known))
        assert there is not None
        return there

    async def close(self) -> None:
        self.link.close()
        for task in self.tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@pytest.fixture
async def bench(redis: Redis) -> AsyncIterator[Bench]:
    bench = Bench(redis.url)
    yield bench
    await bench.close()


async def test_pages_follow_from_each_other(bench: Bench) -> None:
    """Who writes without having read what is there writes nothing; units are added, or with another line are new."""
    assert ("", 0, b"") == ((await bench.look()).line, (await bench.look()).version, (await bench.look()).page)
    assert await bench.pages.write(FIRST) is True
    assert await bench.pages.write(FIRST) is False
    assert await bench.pages.write(Write("key", ("line", 1), "line", 2, b"two", b" more")) is True
    assert await bench.pages.write(Write("key", ("line", 1), "line", 2, b"lost", b"")) is False
    there = await bench.look()
    assert ("line", 2, b"two", 0, b"units more") == (there.line, there.version, there.page, there.offset, there.units)
    there = await bench.look(("line", 1, 5))
    assert (b"two", 5, b" more") == (there.page, there.offset, there.units)
    there = await bench.look(("line", 2, 10))
    assert (2, b"", 10, b"") == (there.version, there.page, there.offset, there.units)
    there = await bench.look(("other", 2, 10))
    assert (b"two", 0, b"units more") == (there.page, there.offset, there.units)
    assert await bench.pages.write(Write("key", ("line", 2), "another", 3, b"three", b"anew")) is True
    assert b"anew" == (await bench.look()).units


async def test_who_is_there(bench: Bench, redis: Redis) -> None:
    """All that looked within the last seconds, with what they said; who has not is forgotten."""
    await bench.look(name="one")
    there = await bench.look(name="two")
    assert {"one": b"here", "two": b"here"} == there.gateways
    connection = bench.link.connection
    assert connection is not None
    long_ago = int(there.moment * 1000) - 4_000
    await connection.ask("HSET", GATEWAYS + "key", "one", f"{long_ago} here")
    assert {"two"} == {*(await bench.look(name="two")).gateways}
    assert 1 == await connection.ask("HLEN", GATEWAYS + "key")
    await bench.pages.write(FIRST)
    for key in (PREFIX + "key", GATEWAYS + "key"):
        left = await connection.ask("PTTL", key)
        assert isinstance(left, int)
        assert left > 0


async def test_a_redis_that_is_away(bench: Bench, redis: Redis) -> None:
    """Is no answer; after its return all is read anew, for it may be another."""
    await bench.look()
    assert await bench.pages.write(FIRST)
    redis.hang()
    assert await bench.pages.look(Look("key", "gate", b"")) is None
    assert await bench.pages.write(FIRST) is None
    redis.go_on()
    while not bench.link.up:  # noqa: ASYNC110 - seen from outside
        await asyncio.sleep(0.01)
    assert b"one" == (await bench.look(("line", 1, 5))).page
    assert b"" == (await bench.look(("line", 1, 5))).page
    redis.kill()
    assert await bench.pages.look(Look("key", "gate", b"")) is None


async def test_the_rights_that_the_documentation_gives(bench: Bench, redis: Redis, tmp_path: Path) -> None:
    """Are enough."""
    await bench.look()
    connection = bench.link.connection
    assert connection is not None
    await connection.ask("ACL", "SETUSER", "penstock", "on", ">secret", "~penstock:*", "+select", *RIGHTS.split())
    (tmp_path / "password").write_text("secret")
    other = Bench(redis.url.replace("//", "//penstock@"), Login(tmp_path / "password"))
    assert "" == (await other.look()).line
    assert await other.pages.write(FIRST) is True
    await other.close()
