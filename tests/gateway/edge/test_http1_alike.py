"""Requests whose head a listener knows: somebody is asked at once, and the connection waits without a coroutine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from time import monotonic

import pytest

from gateway.edge.gate import Framing
from gateway.edge.limits import Limits
from gateway.edge.listener import HttpListener, listen
from gateway.edge.messages import Admitted, Alike, Asker, HttpResponse, RequestHead
from tests.gateway.edge.conftest import Client, Recorder
from tests.gateway.edge.test_http1 import post, start

ANSWER = "\r\nx-fixed: 1", b"known"


class Waiting:
    """Implements gateway.edge.messages.Pending: one request that was asked, and whom its answer is told to."""

    def __init__(self, body: bytes, received: float, asker: Asker) -> None:
        self.body, self.received, self.asker = body, received, asker
        self.cancelled = 0

    def cancel(self) -> None:
        self.cancelled += 1
        self.asker.ended()


class Knowing(Recorder):
    """Knows each head that came before; is the Alike of all of them, too."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Waiting] = []
        self.is_current = self.asks = self.sized = True
        self.refuses = False

    def admit(self, head: RequestHead) -> Admitted | HttpResponse:
        if self.refuses:
            return HttpResponse(429)
        self.heads.append(head)
        return partial(self.read, head)

    async def read(self, head: RequestHead, body: bytes) -> HttpResponse:
        self.bodies.append(body)
        return HttpResponse(200, body=b"read", alike=self if head.again else None)

    def ask(self, body: bytes | memoryview, received: float, peer: str, asker: Asker) -> Waiting | None:
        assert "127.0.0.1" == peer
        if body == b"?":
            raise ValueError("a defect")
        if not self.asks:
            return None
        self.asked.append(Waiting(bytes(body), received, asker))
        return self.asked[-1]

    def current(self) -> bool:
        return self.is_current

    async def until(self, count: int) -> Waiting:
        """The last of so many that were asked."""
        async with asyncio.timeout(5):
            while len(self.asked) < count:  # noqa: ASYNC110 - what is waited for is seen from outside only
                await asyncio.sleep(0)
        assert count == len(self.asked)
        return self.asked[-1]


class Site:
    """A listener before it, and what connects to it."""

    def __init__(self, app: Knowing, listener: HttpListener) -> None:
        self.app, self.listener = app, listener
        self.clients: list[Client] = []

    async def connect(self) -> Client:
        self.clients.append(Client(*await asyncio.open_connection("127.0.0.1", self.listener.port)))
        return self.clients[-1]

    async def known(self, asked: bytes) -> Client:
        """A client who has asked it twice."""
        client = await self.connect()
        for _ in range(2):
            assert b"read" == (await client.ask(asked)).body
        return client

    def heads(self) -> dict[bytes, tuple[Framing, Alike]]:
        """Those that are known."""
        return self.listener._shared.heads._sized

    async def empty(self) -> None:
        async with asyncio.timeout(5):
            while self.listener.connections:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """One that ends with the test."""
    app = Knowing()
    here = Site(app, await listen(app, "127.0.0.1", 0, Limits(sweep=0.02)))
    yield here
    for client in here.clients:
        client.close()
    await here.listener.drain(0)
    assert not here.listener.connections


ASK = post("/known", b"body")


async def test_a_head_that_is_known_is_not_read(site: Site) -> None:
    """From whichever connection it comes, and whatever its body is."""
    await site.known(ASK)
    before = monotonic()
    for number, body in enumerate((b"body", b"BODY", b"more"), 1):
        client = await site.connect()
        client.send(post("/known", body))
        waiting = await site.app.until(number)
        assert (body, True) == (waiting.body, before <= waiting.received <= monotonic())
        waiting.asker.answered(*ANSWER)
        reply = await client.reply()
        assert (200, b"known", "1") == (reply.status, reply.body, reply.headers["x-fixed"])
        assert "connection" not in reply.headers
    assert 2 == len(site.app.heads)


async def test_its_time_goes_from_its_first_byte(site: Site) -> None:
    """However slowly its head comes, and whatever comes with the end of that."""
    client = await site.known(ASK)
    for number, cut in enumerate((len(ASK) - 4, len(ASK) - 1, len(ASK)), 1):
        before = monotonic()
        client.send(ASK[:30])
        for piece in (ASK[30:cut], ASK[cut:]):
            await asyncio.sleep(0.05)
            client.send(piece)
        waiting = await site.app.until(number)
        assert before <= waiting.received < before + 0.05
        waiting.asker.answered(*ANSWER)
        await client.reply()


async def test_a_head_that_came_once_is_read(site: Site) -> None:
    """And the second time it is said that it came before, as long as nobody knows it."""
    client = await site.known(ASK)
    other = post("/known", b"body", "X-Other: 1")
    for _ in range(2):
        assert b"read" == (await client.ask(other)).body
    assert [False, True, False, True] == [head.again for head in site.app.heads]
    site.app.asks = False
    assert b"read" == (await client.ask(other)).body
    assert 2 == len(site.heads())
    site.app.is_current = False
    assert b"read" == (await client.ask(other)).body
    assert [False, True] == [head.again for head in site.app.heads[-2:]]
    assert 2 == len(site.heads())  # forgotten, and learned again


async def test_who_answers_no_more_is_not_asked_again(site: Site) -> None:
    """By a connection that had his last answer, where somebody else answers such a head by now."""
    client = await site.known(ASK)
    client.send(ASK)
    (await site.app.until(1)).asker.answered(*ANSWER)
    assert b"known" == (await client.reply()).body
    ((block, (framing, _)),) = site.heads().items()
    other, site.app.asks = Knowing(), False
    site.heads()[block] = framing, other
    assert b"read" == (await client.ask(ASK)).body
    site.app.asks = True
    client.send(ASK)
    (await other.until(1)).asker.answered(*ANSWER)
    assert b"known" == (await client.reply()).body


async def test_nothing_is_kept_for_who_is_idle(site: Site) -> None:
    """What answers such heads is not held by connections."""
    client = await site.known(ASK)
    client.send(ASK)
    (await site.app.until(1)).asker.answered(*ANSWER)
    await client.reply()
    (connection,) = site.listener._shared.connections
    assert connection._last_known is not None
    connection.tick(monotonic())
    assert connection._last_known is None


async def test_what_takes_some_more(site: Site) -> None:
    """Is awaited, and its answer written."""
    client = await site.known(ASK)
    client.send(ASK)
    waiting = await site.app.until(1)
    wait = asyncio.Event()

    async def more() -> HttpResponse:
        await wait.wait()
        return HttpResponse(200, body=b"later")

    waiting.asker.work(more())
    await asyncio.sleep(0)
    wait.set()
    assert b"later" == (await client.reply()).body
    client.send(ASK)
    (await site.app.until(2)).asker.answered(*ANSWER)
    assert b"known" == (await client.reply()).body


@pytest.mark.parametrize("at", [len(ASK) - 1, len(ASK) - 4, 30])
async def test_a_body_in_pieces_is_asked_for_when_it_is_whole(at: int, site: Site) -> None:
    """Its head has been admitted by then."""
    client = await site.known(ASK)
    admitted = len(site.app.heads)
    client.send(ASK[:at])
    if at > 30:
        async with asyncio.timeout(5):
            while len(site.app.heads) == admitted:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)
    assert not site.app.asked
    client.send(ASK[at:])
    waiting = await site.app.until(1)
    assert b"body" == waiting.body
    waiting.asker.answered(*ANSWER)
    assert b"known" == (await client.reply()).body


async def test_whose_head_was_refused_is_nobody_else(site: Site) -> None:
    """A known head that is refused before its body came leaves nothing to the next request on its connection."""
    client = await site.known(ASK)
    head, other = ASK[:-4], post("/other", b"body")
    site.app.refuses = True
    client.send(head)
    assert 429 == (await client.reply()).status
    site.app.refuses = False
    client.send(b"body", other[:-2])
    async with asyncio.timeout(5):
        while site.app.heads[-1].path != "/other":  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
    client.send(other[-2:])
    assert b"read" == (await client.reply()).body
    assert not site.app.asked


async def test_what_comes_behind_it_waits(site: Site) -> None:
    """Whether its head is known or not."""
    client = await site.known(ASK)
    client.send(ASK, post("/known", b"next"), post("/new", b"last"))
    first = await site.app.until(1)
    await site.clients[0].writer.drain()
    for _ in range(20):
        await asyncio.sleep(0)
    assert 1 == len(site.app.asked)
    first.asker.answered(*ANSWER)
    assert b"known" == (await client.reply()).body
    second = await site.app.until(2)
    assert b"next" == second.body
    second.asker.answered(*ANSWER)
    assert [b"known", b"read"] == [(await client.reply()).body for _ in range(2)]


@pytest.mark.parametrize("behind", [b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"POST", b"\r\n", b"0\r\n\r\n"])
async def test_a_body_is_as_long_as_its_head_says(behind: bytes, site: Site) -> None:
    """Nothing that comes with it becomes a part of it."""
    client = await site.known(ASK)
    client.send(ASK + behind)
    waiting = await site.app.until(1)
    assert b"body" == waiting.body
    waiting.asker.answered(*ANSWER)
    assert b"known" == (await client.reply()).body


async def test_a_client_that_leaves(site: Site) -> None:
    """Its request is cancelled, once, and only then is its connection gone."""
    client = await site.known(ASK)
    client.send(ASK)
    waiting = await site.app.until(1)
    client.writer.transport.abort()
    await site.empty()
    assert 1 == waiting.cancelled


async def test_a_client_that_leaves_while_it_takes_some_more(site: Site) -> None:
    """The work is cancelled then."""
    client = await site.known(ASK)
    client.send(ASK)
    waiting, ended = await site.app.until(1), asyncio.Event()

    async def more() -> HttpResponse:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return HttpResponse(200)

    waiting.asker.work(more())
    client.writer.transport.abort()
    async with asyncio.timeout(5):
        await ended.wait()
    await site.empty()
    assert 0 == waiting.cancelled


async def test_a_client_that_only_sends_no_more(site: Site) -> None:
    """Has its answer."""
    client = await site.known(ASK)
    client.send(ASK)
    client.writer.write_eof()
    waiting = await site.app.until(1)
    await asyncio.sleep(0)
    waiting.asker.answered(*ANSWER)
    answered = await client.rest()
    assert answered.endswith(b"known")
    assert 0 == waiting.cancelled


async def test_one_under_way_ends_its_connection_where_the_port_is_drained(site: Site) -> None:
    """And says so; one that is not answered in time is cancelled."""
    one, other = await site.known(ASK), await site.connect()
    one.send(ASK)
    await site.app.until(1)
    other.send(ASK)
    await site.app.until(2)
    draining = asyncio.create_task(site.listener.drain(0.2))
    async with asyncio.timeout(5):
        while not site.listener._shared.draining:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
    site.app.asked[0].asker.answered(*ANSWER)
    reply = await one.reply()
    assert (b"known", "close") == (reply.body, reply.headers["connection"])
    one.close()
    await draining
    assert [0, 1] == [each.cancelled for each in site.app.asked]
    assert b"" == await other.rest()


NEVER = {
    "a client of old": b"POST /known HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nbody",
    "chunked": start("/known", "Transfer-Encoding: chunked") + b"4\r\nbody\r\n0\r\n\r\n",
    "an expectation": post("/known", b"body", "Expect: 100-continue"),
    "long": post("/known", b"body", f"X-Long: {'x' * 1024}"),
    "without a body": start("/known"),
}


@pytest.mark.parametrize("what", NEVER)
async def test_heads_that_are_read_each_time(what: str, site: Site) -> None:
    """Whatever the application says."""
    client = await site.connect()
    for _ in range(3):
        assert b"read" == (await client.ask(NEVER[what])).body
    assert ({}, 3) == (site.heads(), len(site.app.heads))


async def test_a_head_is_not_answered_with_a_body(site: Site) -> None:
    """HEAD, too, is read each time."""
    client = await site.connect()
    for _ in range(3):
        client.send(b"HEAD /known HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody")
        assert 200 == (await client.reply("HEAD")).status
    assert {} == site.heads()


async def test_the_last_request_is_read(site: Site) -> None:
    """One that ends its connection."""
    last = post("/known", b"body", "Connection: close")
    for _ in range(3):
        client = await site.connect()
        assert b"read" == (await client.ask(last)).body
    assert {} == site.heads()


async def test_a_defect_of_who_is_asked(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Is the gateway's, and its client told so."""
    defect = post("/known", b"?")
    client = await site.known(defect)
    reply = await client.ask(defect)
    assert (500, "close") == (reply.status, reply.headers["connection"])
    assert "the application raised" in caplog.text
