"""What gateways of one Redis hand on to each other, in a real one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.experiment.words import Hear, Heard
from gateway.store.hearsay import MOST, PREFIX
from gateway.store.login import Login
from gateway.workers.relayed import RelayedPages
from tests.gateway.store.test_pages import RIGHTS, Bench
from tests.real_parts import Redis

pytestmark = pytest.mark.slow


@pytest.fixture
async def bench(redis: Redis) -> AsyncIterator[Bench]:
    made = Bench(redis.url)
    yield made
    await made.close()


async def hear(bench: Bench, name: str, last: str = "", parcel: bytes = b"", counts: bytes = b"") -> Heard:
    heard = await bench.pages.hear(Hear(name, last, parcel, [("m/s/c/1/0.5", counts)] if counts else []))
    assert heard is not None
    return heard


async def test_parcels_go_to_all_others_once(bench: Bench) -> None:
    """From when a gateway first listens; whatever bytes they have."""
    first = await hear(bench, "one")
    blob = bytes(range(256))
    own = await hear(bench, "two", parcel=blob)
    assert [] == own.parcels
    heard = await hear(bench, "one", first.last)
    assert [blob] == heard.parcels
    assert [] == (await hear(bench, "one", heard.last)).parcels
    assert [] == (await hear(bench, "three")).parcels


async def test_what_each_has_added_up(bench: Bench) -> None:
    """The latest of all others."""
    await hear(bench, "one", counts=b"old")
    await hear(bench, "one", counts=b"a\0b ")
    assert [[b"a\0b "]] == (await hear(bench, "two", counts=b"2")).counts
    assert [[b"2"]] == (await hear(bench, "one", counts=b"1")).counts


async def test_it_is_bounded(bench: Bench, redis: Redis) -> None:
    """Parcels that later ones have pushed out are gone; a store that has lost all begins anew."""
    start = await hear(bench, "one")
    for number in range(MOST + 3):
        await hear(bench, "two", parcel=b"%d" % number)
    heard = await hear(bench, "one", start.last)
    assert [b"%d" % number for number in range(3, MOST + 3)] == heard.parcels
    assert f"{MOST + 1}" == redis.told("HLEN", f"{PREFIX}parcels")
    redis.told("FLUSHALL")
    await hear(bench, "two", heard.last, parcel=b"new")
    assert [b"new"] == (await hear(bench, "one", heard.last)).parcels


async def test_a_parent_asks_by_a_worker(bench: Bench) -> None:
    """What it tells and hears is the same."""
    relayed = RelayedPages(bench.pages.relay)
    first = await relayed.hear(Hear("one"))
    assert first is not None
    await hear(bench, "two", parcel=b"parcel")
    heard = await relayed.hear(Hear("one", first.last))
    assert heard is not None
    assert [b"parcel"] == heard.parcels


async def test_a_store_that_is_away_says_nothing(bench: Bench, redis: Redis) -> None:
    """And whoever asks knows that."""
    await hear(bench, "one")
    redis.kill()
    assert await bench.pages.hear(Hear("one")) is None


async def test_the_rights_that_the_documentation_gives(bench: Bench, redis: Redis, tmp_path: Path) -> None:
    """Are enough: they are those that rollouts need."""
    redis.told("ACL", "SETUSER", "penstock", "on", ">secret", "~penstock:*", "+select", *RIGHTS.split())
    (tmp_path / "password").write_text("secret")
    other = Bench(redis.url.replace("//", "//penstock@"), Login(tmp_path / "password"))
    await hear(other, "one", parcel=b"parcel", counts=b"1")
    await other.close()
