"""How an issuer's keys are kept at hand."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.auth.fetching import fetcher
from gateway.auth.jwks import (
    PERIOD,
    RETRY,
    STALE,
    UNKNOWN_BURST,
    UNKNOWN_GAP,
    UNKNOWN_PERIOD,
    WAITING,
    Clock,
    IssuerKeys,
)
from gateway.auth.settings import JwtIssuer, KeySourceError

if TYPE_CHECKING:
    from tests.gateway.auth.conftest import Signer, Spawner, Ticker


class Source:
    """An issuer's key set, answered when let: `open` cleared makes every fetch hang."""

    def __init__(self, document: bytes) -> None:
        self.document: bytes | None = document
        self.fetches = 0
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self) -> bytes:
        self.fetches += 1
        await self.open.wait()
        if self.document is None:
            raise KeySourceError("away")
        return self.document


class Changes:
    count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def source(ed_signer: Signer, jwks_of: Callable[..., bytes]) -> Source:
    """Publishes ed-1."""
    return Source(jwks_of(ed_signer.jwk()))


@pytest.fixture
def changes() -> Changes:
    """Counts the times that keys went."""
    return Changes()


@pytest.fixture
def keys(source: Source, spawn: Spawner, ticker: Ticker, changes: Changes) -> IssuerKeys:
    """The keys of an issuer nobody has fetched yet."""
    issuer = JwtIssuer("https://id.test", "penstock", "https://id.test/jwks")
    return IssuerKeys(issuer, source, spawn, Clock(ticker.now, ticker.sleep), changes)


async def settle() -> None:
    """Lets what can run now run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_keys_are_fetched_at_start_and_refreshed(keys: IssuerKeys, source: Source, ticker: Ticker) -> None:
    """The first fetch begins at once, the next every five minutes."""
    before = keys.empty
    keys.start()
    await settle()
    assert (before, keys.empty) == (True, False)
    assert keys.find("EdDSA", "ed-1") is not None
    ticker.move(PERIOD - 1)
    await settle()
    assert source.fetches == 1
    ticker.move(1)
    await settle()
    assert source.fetches == 2


async def test_an_issuer_is_up_when_its_last_fetch_brought_keys(keys: IssuerKeys, source: Source, ticker: Ticker) -> None:
    """Not before the first, not after one in vain although its keys hold, and again after a good one."""
    document, seen = source.document, [keys.up]
    for published in (document, None, document):
        source.document = published
        await keys.refresh()
        seen.append(keys.up)
    ticker.move(STALE + 1)
    assert [False, True, False, True, False] == [*seen, keys.up]


async def test_a_failed_fetch_is_repeated_soon(keys: IssuerKeys, source: Source, ticker: Ticker) -> None:
    """An issuer that was away at start is asked again after seconds, not minutes."""
    document, source.document = source.document, None
    keys.start()
    await settle()
    before = keys.empty
    source.document = document
    ticker.move(RETRY)
    await settle()
    assert (before, keys.empty) == (True, False)


async def test_a_token_finds_its_key_by_name_and_algorithm(
    keys: IssuerKeys, source: Source, rsa_signer: Signer, ec_signer: Signer, jwks_of: Callable[..., bytes]
) -> None:
    """The kid must fit the algorithm; without a kid the only key for the algorithm is meant, if there is but one."""
    second = rsa_signer.jwk(kid="rsa-2")
    source.document = jwks_of(rsa_signer.jwk(), second, ec_signer.jwk())
    await keys.take()
    named = keys.find("ES256", "ec-1")
    assert named is not None
    assert named is keys.find("ES256", None)
    assert keys.find("RS256", None) is None
    assert keys.find("RS256", "ec-1") is None
    assert keys.find("EdDSA", None) is None


async def test_a_storm_of_unknown_names_is_one_fetch(keys: IssuerKeys, source: Source, ticker: Ticker) -> None:
    """As many as may wait do so for one fetch, the others of a thousand not at all; nor does the next thousand."""
    source.open.clear()
    waiting = [asyncio.ensure_future(keys.learn()) for _ in range(1000)]
    await settle()
    assert 1 == source.fetches
    assert not keys.may_learn()
    source.open.set()
    assert [True] * WAITING + [False] * (1000 - WAITING) == await asyncio.gather(*waiting)
    ticker.move(UNKNOWN_GAP - 0.1)
    assert not keys.may_learn()
    assert [False] * 1000 == await asyncio.gather(*(keys.learn() for _ in range(1000)))
    assert 1 == source.fetches
    ticker.move(0.1)
    assert keys.may_learn()
    assert await keys.learn()
    assert 2 == source.fetches


async def test_a_storm_costs_the_issuer_what_the_bucket_holds(keys: IssuerKeys, source: Source, ticker: Ticker) -> None:
    """A fetch every four seconds for the first half minute, then one in ten: what was saved up, and no more."""
    asked = []
    for second in range(200):
        asked += [second] * await keys.learn()
        ticker.move(1)
    assert [0, 4, 8, 12, 16, 20, 30, 40] == asked[:8]
    assert UNKNOWN_BURST + 200 // UNKNOWN_PERIOD >= len(asked) == source.fetches
    assert {10} == {later - earlier for earlier, later in itertools.pairwise(asked[5:])}


@pytest.mark.parametrize("stormy", [False, True])
async def test_an_issuer_that_is_away_is_asked_no_more_often(
    stormy: bool, keys: IssuerKeys, source: Source, ticker: Ticker
) -> None:
    """Repetitions after failures come out of the same bucket, with a storm of unknown names and without."""
    source.document = None
    assert await keys.learn()
    ticker.move(2.5)  # so that the repetitions do not come just when the bucket allows the next fetch
    keys.start()
    for _ in range(200):
        ticker.move(1)
        await settle()
        if stormy:
            await keys.learn()
    assert 20 <= source.fetches <= 1 + 20 + UNKNOWN_BURST


async def test_whoever_leaves_makes_room(keys: IssuerKeys, source: Source) -> None:
    """A client that goes away while it waits lets another one wait."""
    source.open.clear()
    waiting = [asyncio.ensure_future(keys.learn()) for _ in range(WAITING)]
    await settle()
    assert not keys.may_learn()
    waiting[0].cancel()
    await settle()
    assert keys.may_learn()
    source.open.set()
    await asyncio.gather(*waiting[1:])


async def test_beginning_a_fetch_waits_for_nothing(keys: IssuerKeys, source: Source) -> None:
    """Whoever must not wait may still have the keys looked for: once."""
    source.open.clear()
    assert [True, True] == [keys.begin(), keys.begin()]
    await settle()
    assert 1 == source.fetches
    source.open.set()
    await keys.refresh()
    assert not keys.begin()


async def test_keys_that_verify_nothing_are_said_once(
    keys: IssuerKeys,
    source: Source,
    ed_signer: Signer,
    rsa_signer: Signer,
    jwks_of: Callable[..., bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whose token names such a key is told that it is not published; the log says why."""
    caplog.set_level("INFO")
    source.document = jwks_of(ed_signer.jwk(), rsa_signer.jwk(use="enc"))
    for _ in range(3):
        await keys.take()
    assert 1 == caplog.text.count("keys of https://id.test that verify nothing here: 'rsa-1': its use or key_ops")


async def test_a_rotated_key_is_live_right_after_a_periodic_refresh(
    keys: IssuerKeys, source: Source, rsa_signer: Signer, jwks_of: Callable[..., bytes]
) -> None:
    """A quiet refresh does not use up what an unknown name may cause."""
    keys.start()
    await settle()
    source.document = jwks_of(rsa_signer.jwk())
    assert keys.find("RS256", "rsa-1") is None
    assert await keys.learn()
    assert keys.find("RS256", "rsa-1") is not None


async def test_a_fetch_belongs_to_nobody(keys: IssuerKeys, source: Source) -> None:
    """A caller that leaves stops neither the fetch nor the others that wait for it."""
    source.open.clear()
    first, second = asyncio.ensure_future(keys.learn()), asyncio.ensure_future(keys.learn())
    await settle()
    first.cancel()
    await settle()
    source.open.set()
    assert await second
    assert first.cancelled()
    assert (source.fetches, keys.empty) == (1, False)


async def test_old_keys_serve_a_day_while_the_issuer_is_away(
    keys: IssuerKeys, source: Source, ticker: Ticker, changes: Changes
) -> None:
    """Stale keys stay good for 24 hours after the last good fetch, and not a second longer."""
    await keys.refresh()
    source.document = None
    ticker.move(STALE)
    await keys.refresh()
    assert keys.find("EdDSA", "ed-1") is not None
    ticker.move(1)
    assert keys.find("EdDSA", "ed-1") is None
    assert keys.empty
    told = changes.count
    for _ in range(2):
        await keys.refresh()  # the next that fails: what they verified must be forgotten
    assert (0, 1) == (told, changes.count)


@pytest.mark.parametrize("document", [b"", b"{", b'{"keys": []}', b'{"keys": [{"kty": "oct", "k": "AA"}]}'])
async def test_a_set_that_cannot_be_used_changes_nothing(
    document: bytes, keys: IssuerKeys, source: Source, changes: Changes
) -> None:
    """Garbage, an empty set or one with secrets is a failed fetch: the known keys stay."""
    await keys.refresh()
    source.document = document
    await keys.refresh()
    assert keys.find("EdDSA", "ed-1") is not None
    assert changes.count == 0


async def test_a_key_that_goes_is_announced(
    keys: IssuerKeys, source: Source, changes: Changes, ed_signer: Signer, rsa_signer: Signer, jwks_of: Callable[..., bytes]
) -> None:
    """A removed or replaced key is told, so that tokens it verified are forgotten; a new one is not."""
    replaced = type(ed_signer)("EdDSA", "rsa-1", ed_signer.private)
    told = []
    for published in ((ed_signer,), (ed_signer, rsa_signer), (rsa_signer,), (replaced,)):
        source.document = jwks_of(*(each.jwk() for each in published))
        await keys.take()
        told.append(changes.count)
    assert [0, 0, 1, 2] == told


async def test_trouble_is_logged_once(keys: IssuerKeys, source: Source, caplog: pytest.LogCaptureFixture) -> None:
    """A long absence is one line, the return another."""
    document, source.document = source.document, None
    for _ in range(3):
        await keys.refresh()
    source.document = document
    await keys.refresh()
    first, second = [record.getMessage() for record in caplog.records]
    assert "https://id.test could not be refreshed, keeping those known: https://id.test/jwks: away" in first
    assert "fresh again" in second


async def test_a_reload_does_not_take_what_was_asked_for_before(
    keys: IssuerKeys, source: Source, rsa_signer: Signer, jwks_of: Callable[..., bytes]
) -> None:
    """A fetch under way may bring the old keys still: another one follows it."""
    source.open.clear()
    under_way = asyncio.ensure_future(keys.refresh())
    await settle()
    reloading = asyncio.ensure_future(keys.reload())
    await settle()
    assert 1 == source.fetches
    source.open.set()
    await under_way
    source.document = jwks_of(rsa_signer.jwk())
    await reloading
    assert 2 == source.fetches
    assert keys.find("RS256", "rsa-1") is not None


async def test_a_reload_says_every_time_that_it_failed(
    keys: IssuerKeys, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever sent SIGHUP is told, although the trouble is known; the keys stay."""
    await keys.refresh()
    source.document = None
    for _ in range(3):
        await keys.reload()
    assert 3 == caplog.text.count("could not be refreshed, keeping those known: https://id.test/jwks: away")
    assert keys.find("EdDSA", "ed-1") is not None


def rewrite(path: Path, kept: int) -> None:
    """Leaves only the first keys of the set in the file."""
    path.write_text(json.dumps({"keys": json.loads(path.read_bytes())["keys"][:kept]}))


async def test_a_file_is_read_like_any_source(jwks_file: Path, spawn: Spawner, changes: Changes) -> None:
    """Keys of a file are found, and a rotated file is read again; a broken one names itself and changes nothing."""
    issuer = JwtIssuer("iss", "aud", str(jwks_file))
    keys = IssuerKeys(issuer, fetcher(issuer), spawn, Clock(), changes)
    await keys.take()
    assert keys.find("ES256", "ec-1") is not None
    rewrite(jwks_file, 1)
    assert await keys.learn()
    assert (keys.find("ES256", "ec-1"), changes.count) == (None, 1)
    rewrite(jwks_file, 0)
    with pytest.raises(KeySourceError, match=str(jwks_file)):
        await keys.take()
    assert keys.find("RS256", "rsa-1") is not None
