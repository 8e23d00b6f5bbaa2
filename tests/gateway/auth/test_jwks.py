"""How an issuer's keys are kept at hand."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from gateway.auth.jwks import (
    MAX_BYTES,
    PERIOD,
    RETRY,
    STALE,
    UNKNOWN_PERIOD,
    Clock,
    IssuerKeys,
    fetch_url,
    fetcher,
    read_key_file,
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
    """A thousand at once wait for one fetch; a thousand after them wait for none until ten seconds have passed."""
    source.open.clear()
    waiting = [asyncio.ensure_future(keys.learn()) for _ in range(1000)]
    await settle()
    assert source.fetches == 1
    source.open.set()
    assert await asyncio.gather(*waiting) == [True] * 1000
    ticker.move(UNKNOWN_PERIOD - 0.1)
    assert await asyncio.gather(*(keys.learn() for _ in range(1000))) == [False] * 1000
    assert source.fetches == 1
    ticker.move(0.1)
    assert await keys.learn()
    assert source.fetches == 2


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


async def test_old_keys_serve_a_day_while_the_issuer_is_away(keys: IssuerKeys, source: Source, ticker: Ticker) -> None:
    """Stale keys stay good for 24 hours after the last good fetch, and not a second longer."""
    await keys.refresh()
    source.document = None
    ticker.move(STALE)
    await keys.refresh()
    assert keys.find("EdDSA", "ed-1") is not None
    ticker.move(1)
    assert keys.find("EdDSA", "ed-1") is None
    assert keys.empty


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


async def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    """Missing, a folder, a pipe that would never end, or too large."""
    os.mkfifo(tmp_path / "pipe")
    large = tmp_path / "large"
    large.write_bytes(b" " * (MAX_BYTES + 1))
    for path, why in (
        (tmp_path / "none", "No such file"),
        (tmp_path, "directory"),
        (tmp_path / "pipe", "a pipe"),
        (large, "larger than"),
    ):
        with pytest.raises(KeySourceError, match=why):
            await read_key_file(path)


Serve = Callable[[Callable[[web.Request], Awaitable[web.StreamResponse]]], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a web server on a free port for one answer; gives its URL."""
    runners: list[web.AppRunner] = []

    async def start(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> str:
        app = web.Application()
        app.router.add_get("/{any:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/jwks.json"

    yield start
    for runner in runners:
        await runner.cleanup()


async def test_keys_come_over_http(serve: Serve, ed_signer: Signer, jwks_of: Callable[..., bytes]) -> None:
    """A 200 answer is the key set, byte for byte."""
    document = jwks_of(ed_signer.jwk())

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=document)

    assert document == await fetch_url(await serve(answer))


async def test_other_answers_are_failures(serve: Serve) -> None:
    """Errors, redirects (followed nowhere) and endless bodies are failed fetches."""
    followed: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        followed.append(request.path)
        if request.path == "/large":
            return web.Response(body=b" " * (MAX_BYTES + 1))
        if request.path == "/bomb":
            response = web.Response(body=b" " * (MAX_BYTES + 1))
            response.enable_compression(web.ContentCoding.gzip)
            return response
        return web.Response(status=503) if request.path == "/503" else web.Response(status=302, headers={"Location": "/evil"})

    root = (await serve(answer)).removesuffix("/jwks.json")
    for path, why in (("/503", "status 503"), ("/302", "status 302"), ("/large", "larger"), ("/bomb", "larger")):
        with pytest.raises(KeySourceError, match=why):
            await fetch_url(root + path)
    assert followed == ["/503", "/302", "/large", "/bomb"]


async def test_an_issuer_that_hangs_or_dies_costs_a_bounded_wait(
    serve: Serve, spawn: Spawner, ticker: Ticker, changes: Changes, ed_signer: Signer, jwks_of: Callable[..., bytes]
) -> None:
    """A server that answers, then hangs, then drips, then is gone: the keys it gave stay good throughout."""
    document = jwks_of(ed_signer.jwk())
    moods, ended = ["well"], asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if moods[-1] == "hang":
            await ended.wait()
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(document[:5])
        if moods[-1] == "drip":
            await ended.wait()
        await response.write(document[5:])
        return response

    url = await serve(answer)

    async def fetch() -> bytes:
        return await fetch_url(url, seconds=5 if moods == ["well"] else 0.1)

    keys = IssuerKeys(JwtIssuer("iss", "aud", url), fetch, spawn, Clock(ticker.now, ticker.sleep), changes)
    await keys.refresh()
    for mood in ("hang", "drip"):
        moods.append(mood)
        ticker.move(UNKNOWN_PERIOD)
        async with asyncio.timeout(3):
            assert await keys.learn()
        assert keys.find("EdDSA", "ed-1") is not None
    ended.set()
    with pytest.raises(KeySourceError, match="cannot be fetched"):
        await fetch_url("http://127.0.0.1:1/jwks.json")


async def test_odd_answers_never_escape_as_foreign_errors() -> None:
    """A peer that speaks no HTTP, or closes at once, is a failed fetch."""
    for reply in (
        b"",
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    ):

        async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reply: bytes = reply) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply)
            writer.close()

        server = await asyncio.start_server(peer, "127.0.0.1", 0)
        port: Any = server.sockets[0].getsockname()[1]
        with pytest.raises(KeySourceError):
            await fetch_url(f"http://127.0.0.1:{port}/", seconds=2)
        server.close()
        await server.wait_closed()
