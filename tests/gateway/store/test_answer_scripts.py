"""Tests of gateway.store.answer_scripts: what a real Redis makes of them, well, full or a replica, and what its answers mean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store import answer_scripts
from gateway.store.answer_scripts import AGREE, FIND, MOST_PURGES, STATE, Agreed
from gateway.store.connection import Connection
from gateway.store.trouble import StoreError
from routing.cache.caching import Purge
from tests.real_parts import Redis

SECRET, OTHER = b"s" * 32, b"o" * 32
DIGITS = Purge(model="digits")


class Asker:
    """Runs the scripts over a connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def agree(self, secret: bytes = SECRET, stamp: bytes = b"", purges: dict[Purge, str] | None = None) -> Agreed:
        """AGREE."""
        words = answer_scripts.words(purges or {})
        return answer_scripts.agreed(await self.connection.ask("EVAL", AGREE, 1, STATE, secret, stamp, *words))

    async def find(self, *names: str, most: int = 1000, together: int = 10_000) -> tuple[bytes, Sequence[tuple[int, bytes, int]]]:
        """FIND."""
        answer = await self.connection.ask("EVAL", FIND, 1 + len(names), STATE, *names, most, together)
        return answer_scripts.found(answer, len(names))


async def asks(redis: Redis) -> Asker:
    """A connection to it."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(lambda _: None, 5.0), "127.0.0.1", redis.port)
    return Asker(connection)


@pytest.fixture
async def asker(redis: Redis) -> AsyncIterator[Asker]:
    """To a real Redis."""
    made = await asks(redis)
    yield made
    made.connection.close()


@pytest.mark.slow
async def test_whoever_comes_first_gives_the_secret(asker: Asker, redis: Redis) -> None:
    """The others take it; it expires if nobody is there any more."""
    assert Agreed(SECRET, b"", "", None) == await asker.agree()
    assert SECRET == (await asker.agree(OTHER)).secret
    assert 6 * 86_400 < int(redis.told("TTL", STATE)) <= 7 * 86_400
    redis.told("FLUSHALL")
    assert (OTHER, b"4 a") == (await asker.agree(OTHER, b"4 a"))[:2]  # with the number that it knows


@pytest.mark.slow
async def test_purges_get_numbers(asker: Asker) -> None:
    """The same order the same; whoever knows another stamp is told all there are."""
    first = await asker.agree(purges={DIGITS: "a", Purge(tag="t"): "b"})
    assert (b"2 b", {DIGITS: (1, "a"), Purge(tag="t"): (2, "b")}) == (first.stamp, first.purges)
    again = await asker.agree(stamp=b"2 b", purges={DIGITS: "a"})
    assert (b"2 b", None) == (again.stamp, again.purges)
    later = await asker.agree(stamp=b"2 b", purges={DIGITS: "c"})
    assert (b"3 c", (3, "c")) == (later.stamp, (later.purges or {})[DIGITS])
    assert later == await asker.agree(stamp=b"")
    assert first.purges != (await asker.agree(stamp=b"2 b")).purges
    assert (await asker.agree(stamp=b"3 c")).purges is None
    ahead = await asker.agree(stamp=b"9 z")  # it knows what this Redis has lost
    assert (b"9 z", later.purges) == (ahead.stamp, ahead.purges)


@pytest.mark.slow
async def test_purges_are_bounded(asker: Asker) -> None:
    """One more, and everything goes; the secret stays."""
    await asker.agree(purges={Purge(version=str(number)): "a" for number in range(MOST_PURGES)})
    full = await asker.agree(purges={Purge(version="0"): "b"})
    assert MOST_PURGES == len(full.purges or {})
    found = await asker.agree(OTHER, purges={DIGITS: "c"})
    assert (SECRET, b"258 c", {Purge(): (258, "c")}) == (found.secret, found.stamp, found.purges)


@pytest.mark.slow
async def test_many_are_found_in_one_trip(asker: Asker, redis: Redis) -> None:
    """With the time that each has left; what is another type's or too large is not there."""
    await asker.agree(purges={DIGITS: "a"})
    redis.told("SET", "one", "1", "PX", "60000")
    redis.told("SET", "large", "x" * 1001, "PX", "60000")
    redis.told("SET", "stranger", "for ever")
    redis.told("RPUSH", "list", "a")
    stamp, found = await asker.find("none", "one", "list", "large", "stranger")
    assert (b"1 a", [(1, b"1"), (4, b"for ever")]) == (stamp, [(place, value) for place, value, _ in found])
    assert 0 < found[0][2] <= 60_000
    assert -1 == found[1][2]
    assert [1] == [place for place, _, _ in (await asker.find("none", "one", "one", together=1))[1]]
    assert 512 == len((await asker.find(*["one"] * 512))[1])


@pytest.mark.slow
async def test_where_nothing_can_be_written(redis: Redis, asker: Asker) -> None:
    """Full, or a replica: answers are found, and of what was to be written it is said that it was not."""
    redis.told("SET", "one", "1", "PX", "60000")
    known = await asker.agree(purges={DIGITS: "a"})
    for words, says in ((("CONFIG", "SET", "maxmemory", "1"), "OOM"), (("REPLICAOF", "127.0.0.1", "1"), "READONLY")):
        redis.told(*words)
        assert (b"1 a", [0]) == (lambda found: (found[0], [each[0] for each in found[1]]))(await asker.find("one"))
        assert known._replace(purges=None) == await asker.agree(stamp=b"1 a")
        refused = await asker.agree(stamp=b"1 a", purges={DIGITS: "b"})
        assert (b"1 a", None, True) == (refused.stamp, refused.purges, says in refused.refused)
        redis.told("CONFIG", "SET", "maxmemory", "0")


@pytest.mark.slow
async def test_an_empty_redis_that_cannot_be_written(tmp_path: Path) -> None:
    """It has no secret, and everybody goes on with their own."""
    with Redis(tmp_path, maxmemory="1") as full:
        asker = await asks(full)
        found = await asker.agree()
        assert (b"", b"", True) == (found.secret, found.stamp, "OOM" in found.refused)
        asker.connection.close()


@pytest.mark.slow
async def test_every_key_expires_and_none_tells_whose(asker: Asker, redis: Redis) -> None:
    """What lies there by name is a hash of a hash."""
    await asker.agree(purges={DIGITS: "a"})
    assert [STATE] == redis.told("KEYS", "*").split()
    assert "penstock:{answers}:" + "07" * 16 == answer_scripts.stored(b"\7" * 32)


NONSENSE = st.recursive(
    st.one_of(
        st.none(), st.integers(), st.binary(max_size=40), st.sampled_from([SECRET, b"1 a", b"purge x", b'purge ["","","",""]'])
    ),
    lambda inner: st.lists(inner, max_size=7),
    max_leaves=12,
)


@given(NONSENSE)
def test_nonsense_is_said_to_be(answer: Any) -> None:
    """Whatever comes is read, or is a StoreError."""
    for read in (lambda: answer_scripts.agreed(answer), lambda: answer_scripts.found(answer, 3)):
        with suppress(StoreError):
            read()


def test_what_a_later_version_wrote() -> None:
    """A purge that says more than this version knows is about everything."""
    fields = [b"secret", SECRET, b"stamp", b"4 a", b'purge ["m","","","","more"]', b"4 a", b"another", b"field"]
    assert {Purge(): (4, "a")} == answer_scripts.agreed([SECRET, b"4 a", b"", *fields]).purges


@pytest.mark.parametrize("stamp", [b"x", b"-1 a", b"1", b"1 A", b"1 a\n", b"9" * 16 + b" a"])
def test_a_stamp_that_is_none(stamp: bytes) -> None:
    """It is somebody else's."""
    with pytest.raises(StoreError):
        answer_scripts.numbered(stamp)
    assert [0, 12] == [answer_scripts.numbered(each) for each in (b"", b"12 ab")]
