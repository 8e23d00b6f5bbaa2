"""How key sets are had."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from gateway.auth.fetching import MAX_BYTES, fetch_url, read_key_file
from gateway.auth.settings import KeySourceError

if TYPE_CHECKING:
    from tests.gateway.auth.conftest import Signer


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


async def test_an_issuer_that_hangs_or_drips_costs_a_bounded_wait(serve: Serve) -> None:
    """No byte at all, or one and then no more: over after the time given, however it went about it."""
    ended = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/hangs":
            await ended.wait()
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await ended.wait()
        return response

    root = (await serve(answer)).removesuffix("/jwks.json")
    for path in ("/hangs", "/drips"):
        async with asyncio.timeout(3):
            with pytest.raises(KeySourceError, match=r"no answer within 0\.1 s"):
                await fetch_url(root + path, seconds=0.1)
    ended.set()
    with pytest.raises(KeySourceError, match="cannot be fetched"):
        await fetch_url("http://127.0.0.1:1/jwks.json")


async def test_names_are_looked_up(serve: Serve) -> None:
    """By the system, in all their addresses; one that nobody knows is a failed fetch."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=b"{}")

    assert b"{}" == await fetch_url((await serve(answer)).replace("127.0.0.1", "localhost"))
    with pytest.raises(KeySourceError, match="cannot be fetched"):
        await fetch_url("http://no-such-host.invalid/")
