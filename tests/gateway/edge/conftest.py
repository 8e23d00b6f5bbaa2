"""A recording application, a raw client and listeners on free ports, as the tests of the edge need them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from time import monotonic
from typing import NamedTuple

import pytest

from backends.errors import InferenceError
from gateway.edge import reply
from gateway.edge.limits import Limits
from gateway.edge.listener import HttpListener, listen
from gateway.edge.messages import Admitted, HttpResponse, Later, RequestHead


class Recorder:
    """Echoes, unless the path says otherwise; keeps what it saw."""

    def __init__(self) -> None:
        self.heads: list[RequestHead] = []
        self.bodies: list[bytes] = []
        self.refused: list[tuple[int, str]] = []
        self.leavings: list[str] = []
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.knows = True  # what it has answered on /again
        self.again: list[str] = []  # who got such an answer by its bytes alone
        self.held: list[Held] = []  # those on /later, of whom it is not known yet whether they do

    def admit(self, head: RequestHead) -> Admitted | HttpResponse:
        self.heads.append(head)
        if head.path == "/refuse":
            return HttpResponse(401, (("X-Early", "yes"),), b"who are you")
        if head.path == "/raise":
            raise RuntimeError("admit")
        return partial(self.at_once if head.path in ("/now", "/burst", "/again") else self.answer, head)

    def at_once(self, head: RequestHead, body: bytes) -> HttpResponse:
        self.bodies.append(body)
        if head.path == "/burst":
            raise RuntimeError("at once")
        if head.path == "/again":
            return HttpResponse(200, body=b"read", again=self.known)
        return HttpResponse(200, (("X-Path", head.path),), body)

    def known(self, peer: str, received: float, date: bytes) -> bytes | None:
        if not self.knows:
            return None
        self.again.append(peer)
        before, between, behind = reply.parts("\r\nX-Fixed: 1", b"known")
        return b"".join((before, f"\r\nX-Late: {received <= monotonic()}".encode(), between, date, behind))

    def held_back(self, peer: str, received: float, date: bytes) -> Later:
        self.held.append(Held(self, peer, received))
        return self.held[-1]

    def left(self, stage: str) -> None:
        self.leavings.append(stage)

    def refuse(self, error: InferenceError, status: int, head: RequestHead | None) -> HttpResponse:
        self.refused.append((status, head.path if head is not None else ""))
        return HttpResponse(status, (("X-Penstock-Error", error.reason),), error.message.encode())

    async def answer(self, head: RequestHead, body: bytes) -> HttpResponse:
        self.bodies.append(body)
        if head.path == "/wait":
            self.started.set()
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        elif head.path == "/crash":
            raise RuntimeError("answer")
        elif head.path == "/big":
            return HttpResponse(200, body=memoryview(bytes(int(head.query))))
        elif head.path == "/header":
            return HttpResponse(200, (("X-Good", "1"), ("X-Bad", "a\r\nX-Evil: 1"), ("Content-Length", "99")), b"ok")
        elif head.path == "/nothing":
            return HttpResponse(204)
        elif head.path == "/later":
            await asyncio.sleep(0)
            return HttpResponse(200, body=b"read", again=self.held_back)
        return HttpResponse(200, (("X-Path", head.path),), body)


class Held:
    """Implements gateway.edge.messages.Later; knows when told."""

    def __init__(self, app: Recorder, peer: str, received: float) -> None:
        self.app, self.peer, self.received = app, peer, received
        self.known: Callable[[], None] | None = None
        self.cancelled = self.fails = False

    def begin(self, known: Callable[[], None]) -> None:
        self.known = known

    def tell(self) -> None:
        known, self.known = self.known, None
        if known is not None:
            known()

    def answer(self, date: bytes) -> bytes | None:
        if self.fails:
            raise ValueError("a defect")
        return self.app.known(self.peer, self.received, date)

    def cancel(self) -> None:
        self.cancelled = True
        self.tell()


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One raw connection: sends bytes as they are, reads answers by their Content-Length."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *pieces: bytes) -> None:
        self.writer.writelines(pieces)

    async def reply(self, method: str = "GET") -> Reply:
        async with asyncio.timeout(5):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
            length = 0 if method == "HEAD" else int(headers.get("content-length", "0"))
            return Reply(int(lines[0].split()[1]), headers, await self.reader.readexactly(length))

    async def ask(self, *pieces: bytes) -> Reply:
        self.send(*pieces)
        return await self.reply()

    async def rest(self) -> bytes:
        """Everything up to the end of the connection, which must not be a reset."""
        async with asyncio.timeout(5):
            return await self.reader.read()

    def close(self) -> None:
        self.writer.close()

    async def turns(self, count: int) -> None:
        """Asks so many times: the edge gets as many turns of its loop, and nobody sleeps."""
        for _ in range(count):
            await self.ask(b"GET /probe HTTP/1.1\r\nHost: h\r\n\r\n")

    async def until(self, condition: Callable[[], bool]) -> None:
        """Asks until the condition holds."""
        async with asyncio.timeout(5):
            while not condition():
                await self.turns(1)


class Place:
    """Starts listeners and clients, and ends them with the test."""

    def __init__(self) -> None:
        self.listeners: list[HttpListener] = []
        self.clients: list[Client] = []

    async def start(self, limits: Limits | None = None) -> tuple[Recorder, Callable[[], Awaitable[Client]]]:
        """An application behind a new listener, and what connects to it."""
        app = Recorder()
        self.listeners.append(await listen(app, "127.0.0.1", 0, limits or Limits(sweep=0.02)))
        return app, self.connect

    async def connect(self) -> Client:
        """A client of the last listener."""
        client = Client(*await asyncio.open_connection("127.0.0.1", self.listeners[-1].port))
        self.clients.append(client)
        return client


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """Listeners and clients that end with the test."""
    here = Place()
    yield here
    for client in here.clients:
        client.close()
    for listener in here.listeners:
        await listener.drain(0)
