"""One connection's behaviour on the wire, and its independence of how the bytes are cut."""

from __future__ import annotations

import asyncio
import socket
import struct
from time import monotonic
from typing import TYPE_CHECKING, cast

import pytest

from gateway.edge.limits import Limits

if TYPE_CHECKING:
    from tests.gateway.edge.conftest import Place

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"


def post(path: str, body: bytes = b"", *fields: str) -> bytes:
    """A whole request with its length."""
    lines = [f"POST {path} HTTP/1.1", "Host: h", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


def start(path: str, *fields: str) -> bytes:
    """The head of a request whose framing the fields say."""
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: h", *fields, "", ""]).encode()


async def test_keep_alive_carries_one_request_after_another(place: Place) -> None:
    """Head and body reach the application as sent, the answer comes back, and the connection stays."""
    app, connect = await place.start()
    client = await connect()
    for body in (b"one", b"", b"x" * 300_000):
        reply = await client.ask(post("/p%20q?x=1", body, "X-A: 1"))
        assert (200, "/p%20q", body) == (reply.status, reply.headers["x-path"], reply.body)
        assert "connection" not in reply.headers
        assert reply.headers["date"].endswith("GMT")
    assert 3 == len(app.heads)
    assert ("127.0.0.1", "x=1", "1") == (app.heads[0].peer, app.heads[0].query, app.heads[0].headers["x-a"])
    assert app.heads[0].received <= app.heads[1].received


async def test_pipelined_requests_are_answered_in_order(place: Place) -> None:
    """Many requests in one write come back one by one, in their order, each with its own body."""
    app, connect = await place.start()
    client = await connect()
    client.send(b"".join(post(f"/{i}", b"%d" % i) for i in range(200)))
    assert [(f"/{i}", b"%d" % i) for i in range(200)] == [
        (r.headers["x-path"], r.body) for r in [await client.reply() for _ in range(200)]
    ]
    assert 200 == len(app.bodies)


async def test_answers_at_once_keep_their_place(place: Place) -> None:
    """What needs no waiting goes out in its turn, with a body in one piece or in several, and leaves others theirs."""
    app, connect = await place.start()
    probe, client = await connect(), await connect()
    await probe.turns(1)
    before = len(app.heads)
    client.send(post("/wait"), *(post(("/now", "/then")[i % 2], b"%d" % i) for i in range(2000)))
    await app.started.wait()
    app.release.set()
    await probe.turns(1)
    assert len(app.heads) < before + 2000
    await client.reply()
    assert [b"%d" % i for i in range(2000)] == [(await client.reply()).body for _ in range(2000)]
    client.send(start("/now", "Content-Length: 4") + b"ab")
    await probe.turns(2)
    assert b"abcd" == (await client.ask(b"cd")).body
    reply = await client.ask(post("/now", b"last", "Connection: close"))
    assert (b"last", "close", b"") == (reply.body, reply.headers["connection"], await client.rest())


async def test_the_next_request_waits_for_the_answer_before_it(place: Place) -> None:
    """While one request is being answered, the one behind it is not even admitted."""
    app, connect = await place.start()
    client = await connect()
    client.send(post("/wait"), GET)
    await app.started.wait()
    assert 1 == len(app.heads)
    app.release.set()
    assert ["/wait", "/a"] == [(await client.reply()).headers["x-path"] for _ in range(2)]


async def test_reading_pauses_beyond_the_bound_and_goes_on_later(place: Place) -> None:
    """A client that pipelines megabytes during one request fills its own socket, not the gateway."""
    app, connect = await place.start(Limits(sweep=0.02, pipelined=1000))
    probe, client = await connect(), await connect()
    client.send(post("/wait"), *(post("/nothing", b"y" * 100_000) for _ in range(400)))
    await app.started.wait()
    await probe.turns(200)
    assert client.writer.transport.get_write_buffer_size() > 20_000_000
    app.release.set()
    assert [200] + [204] * 400 == [(await client.reply()).status for _ in range(401)]


async def test_chunked_body_and_the_request_behind_it(place: Place) -> None:
    """A chunked body arrives whole; its trailers are dropped; what follows is the next request."""
    app, connect = await place.start()
    client = await connect()
    reply = await client.ask(start("/c", "Transfer-Encoding: chunked"), b"3\r\nabc\r\n2;x\r\nde\r\n0\r\nHost: evil\r\n\r\n", GET)
    assert b"abcde" == reply.body
    assert "/a" == (await client.reply()).headers["x-path"]
    assert ["h", "h"] == [head.headers["host"] for head in app.heads]


@pytest.mark.parametrize(
    "rest",
    [
        start("/refuse", "Content-Length: 50") + GET + b"z" * (50 - len(GET)),
        start("/refuse", "Transfer-Encoding: chunked") + b"%x\r\n%s\r\n0\r\n\r\n" % (len(GET), GET),
        start("/refuse"),
    ],
)
async def test_early_refusal_then_a_second_request(place: Place, rest: bytes) -> None:
    """A refused request's small body is thrown away, never read as a request, and the connection goes on."""
    app, connect = await place.start()
    client = await connect()
    refusal = await client.ask(rest)
    assert (401, "yes", b"who are you") == (refusal.status, refusal.headers["x-early"], refusal.body)
    assert "/second" == (await client.ask(post("/second", b"2"))).headers["x-path"]
    assert ["/refuse", "/second"] == [head.path for head in app.heads]
    assert [b"2"] == app.bodies


async def test_early_refusal_answers_before_the_body(place: Place) -> None:
    """The refusal does not wait for bytes that have not come; they are thrown away when they do."""
    app, connect = await place.start()
    client = await connect()
    assert 401 == (await client.ask(start("/refuse", f"Content-Length: {len(GET)}"))).status
    assert "/b" == (await client.ask(GET, post("/b"))).headers["x-path"]
    assert ["/refuse", "/b"] == [head.path for head in app.heads]


@pytest.mark.parametrize(
    "request_", [start("/refuse", "Content-Length: 1000"), start("/refuse", "Content-Length: 3", "Expect: 100-continue")]
)
async def test_early_refusal_of_a_large_or_uncertain_body_closes(place: Place, request_: bytes) -> None:
    """When the body is large, or perhaps never sent, the refusal ends the connection and nothing behind it is read."""
    app, connect = await place.start(Limits(sweep=0.02, unread=100))
    client = await connect()
    refusal = await client.ask(request_)
    assert (401, "close") == (refusal.status, refusal.headers["connection"])
    client.send(GET)
    assert b"" == await client.rest()
    assert 1 == len(app.heads)


async def test_an_endless_refused_body_is_cut(place: Place) -> None:
    """A refused chunked body is read up to its small cap only."""
    app, connect = await place.start(Limits(sweep=0.02, unread=100, linger_timeout=0.05))
    client = await connect()
    assert 401 == (await client.ask(start("/refuse", "Transfer-Encoding: chunked"))).status
    client.send(b"80\r\n" + b"a" * 128 + b"\r\n")
    assert b"" == await client.rest()
    assert 1 == len(app.heads)


async def test_a_refused_body_that_does_not_come_is_not_waited_for(place: Place) -> None:
    """Throwing a body away has its own short clock."""
    _, connect = await place.start(Limits(sweep=0.02, linger_timeout=0.05))
    client = await connect()
    assert 401 == (await client.ask(start("/refuse", "Content-Length: 10"))).status
    assert b"" == await client.rest()


async def test_disconnect_cancels_the_request(place: Place) -> None:
    """A client that goes away takes its request with it, by FIN or by reset."""
    for linger in (None, struct.pack("ii", 1, 0)):
        app, connect = await place.start()
        client = await connect()
        client.send(post("/wait", b"x"))
        await app.started.wait()
        if linger is not None:
            client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        client.close()
        async with asyncio.timeout(5):
            await app.cancelled.wait()


async def test_expectation_is_met_once_admitted(place: Place) -> None:
    """`100 Continue` comes after admission and before the body; a body already under way needs none."""
    app, connect = await place.start()
    client = await connect()
    client.send(start("/e", "Content-Length: 3", "Expect: 100-continue"))
    assert b"HTTP/1.1 100 Continue\r\n\r\n" == await client.reader.readuntil(b"\r\n\r\n")
    assert (1, 0) == (len(app.heads), len(app.bodies))
    assert b"abc" == (await client.ask(b"abc")).body
    client.send(start("/e", "Content-Length: 3", "Expect: 100-continue") + b"d")
    await (await connect()).turns(3)
    assert (200, b"def") == (await client.ask(b"ef"))[::2]


async def test_head_and_no_content_have_no_body(place: Place) -> None:
    """HEAD is answered with the length the body would have; 204 with none."""
    _, connect = await place.start()
    client = await connect()
    client.send(b"HEAD /big?5 HTTP/1.1\r\nHost: h\r\n\r\n")
    assert "5" == (await client.reply("HEAD")).headers["content-length"]
    assert (204, False) == ((reply := await client.ask(post("/nothing"))).status, "content-length" in reply.headers)
    assert 200 == (await client.ask(GET)).status


async def test_http_1_0(place: Place) -> None:
    """HTTP/1.0 needs no Host and closes, unless it asks to be kept, and then is told so."""
    _, connect = await place.start()
    client = await connect()
    kept = await client.ask(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert (200, "keep-alive") == (kept.status, kept.headers["connection"])
    assert "close" == (await client.ask(b"GET /a HTTP/1.0\r\n\r\n")).headers["connection"]
    assert b"" == await client.rest()


async def test_connection_close_is_honoured(place: Place) -> None:
    """A client that says close gets its answer whole, then the end; nothing behind it is read."""
    app, connect = await place.start()
    client = await connect()
    reply = await client.ask(post("/big?8000000", b"", "Connection: close"), GET)
    assert (8_000_000, "close") == (len(reply.body), reply.headers["connection"])
    assert b"" == await client.rest()
    assert 1 == len(app.heads)


@pytest.mark.parametrize(
    ("bytes_", "status"),
    [
        (b"junk\r\n\r\n", 400), (b"\x16\x03\x01\x02", 400), (b"GET /a HTTP/1.1\n", 400),
        (b"GET /../a HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\n\r\n", 400), (b"GET /a HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", 400), (b"GET /a HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n", 400),
        (start("/a", "Content-Length: 1", "Transfer-Encoding: chunked"), 400),
        (start("/a", "Transfer-Encoding: chunked") + b"z\r\n", 400),
        (start("/a", "Transfer-Encoding: gzip"), 501), (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (start("/a", "Content-Length: 101"), 413), (start("/a", "Transfer-Encoding: chunked") + b"65\r\n", 413),
        (b"GET /" + b"a" * 300, 414), (b"GET /a HTTP/1.1\r\nHost: h\r\nA: " + b"a" * 2000, 431),
        (b"GET /a HTTP/2.0\r\nHost: h\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 426), (start("/a", "Connection: Upgrade", "Upgrade: h2c"), 426),
        (start("/a", "Expect: more"), 417),
    ],
)  # fmt: skip
async def test_edge_refusals(place: Place, bytes_: bytes, status: int) -> None:
    """Every refusal of the edge goes through the application's words, says close, and ends the connection."""
    app, connect = await place.start(Limits(sweep=0.02, request_line=200, headers=1000, body=100))
    client = await connect()
    reply = await client.ask(bytes_)
    assert (status, "close") == (reply.status, reply.headers["connection"])
    assert reply.headers["x-penstock-error"]
    assert ("upgrade" in reply.headers) == (status == 426)
    client.send(GET)
    assert b"" == await client.rest()
    assert [status] == [code for code, _ in app.refused]
    assert [] == app.bodies


async def test_a_refusal_waits_its_turn(place: Place) -> None:
    """A broken request behind a good one does not overtake its answer."""
    app, connect = await place.start()
    client = await connect()
    client.send(post("/wait", b"1"), b"junk\r\n\r\n")
    await app.started.wait()
    app.release.set()
    assert [200, 400] == [(await client.reply()).status for _ in range(2)]
    assert b"" == await client.rest()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /a HT", 408),
        (start("/a", "Content-Length: 5000") + b"x", 408),
        (start("/a", "Transfer-Encoding: chunked"), 408),
        (b"", 0),
    ],
)
async def test_slow_clients_meet_their_clock(place: Place, sent: bytes, status: int) -> None:
    """Headers, bodies and idleness have clocks: 408 for a request begun, a plain end for none."""
    app, connect = await place.start(
        Limits(sweep=0.02, headers_timeout=0.05, body_grace=0.05, first_byte_timeout=0.05, linger_timeout=0.05)
    )
    client = await connect()
    if sent:
        assert status == (await client.ask(sent)).status
        assert [status] == [code for code, _ in app.refused]
    assert b"" == await client.rest()


async def test_a_client_that_does_not_read_is_given_up(place: Place) -> None:
    """An answer of which nothing is taken for a while ends the connection."""
    _, connect = await place.start(Limits(sweep=0.02, write_timeout=0.1))
    probe, client = await connect(), await connect()
    client.send(b"GET /big?60000000 HTTP/1.1\r\nHost: h\r\n\r\n")
    cast(asyncio.ReadTransport, client.writer.transport).pause_reading()
    await probe.until(lambda: place.listeners[0].connections == 2)
    await probe.until(lambda: place.listeners[0].connections == 1)


async def test_refusals_in_a_row_leave_room_for_others(place: Place) -> None:
    """However many requests come in one piece, and though no refusal needs a task, others have their turn in between."""
    app, connect = await place.start(Limits(sweep=0.02))
    probe, client = await connect(), await connect()
    await probe.turns(1)
    before = len(app.heads)
    client.send(GET.replace(b"/a", b"/refuse") * 3000)
    await probe.turns(1)
    assert len(app.heads) < before + 3000
    assert {401} == {(await client.reply()).status for _ in range(3000)}


async def test_large_answers_come_whole_and_hold_back_the_next(place: Place) -> None:
    """Pipelined large answers arrive complete; the next request waits until the one before is taken."""
    app, connect = await place.start()
    probe, client = await connect(), await connect()
    big = b"GET /big?20000000 HTTP/1.1\r\nHost: h\r\n\r\n"
    client.send(big, big, big)
    cast(asyncio.ReadTransport, client.writer.transport).pause_reading()
    await probe.until(lambda: "/big" in [head.path for head in app.heads])
    client.send(*(post("/nothing", b"y" * 100_000) for _ in range(300)))
    await probe.turns(400)
    assert client.writer.transport.get_write_buffer_size() > 10_000_000
    assert 1 == [head.path for head in app.heads].count("/big")
    cast(asyncio.ReadTransport, client.writer.transport).resume_reading()
    assert [20_000_000] * 3 == [len((await client.reply()).body) for _ in range(3)]


@pytest.mark.parametrize("path", ["/raise", "/crash", "/burst"])
async def test_a_raising_application_is_500(place: Place, path: str, caplog: pytest.LogCaptureFixture) -> None:
    """A defect behind the edge is logged, answered with 500 and ends the connection."""
    app, connect = await place.start()
    client = await connect()
    reply = await client.ask(post(path, b"x"))
    assert (500, "close") == (reply.status, reply.headers["connection"])
    assert b"" == await client.rest()
    assert [(500, path)] == app.refused
    assert ["gateway.edge.http1"] == [record.name for record in caplog.records]


async def test_no_header_injection_on_the_wire(place: Place) -> None:
    """A response header that would end its line is not written, nor a second length."""
    _, connect = await place.start()
    reply = await (await connect()).ask(GET.replace(b"/a", b"/header"))
    assert ("1", "2", b"ok") == (reply.headers["x-good"], reply.headers["content-length"], reply.body)
    assert not {"x-bad", "x-evil"} & set(reply.headers)


def left(place: Place) -> int:
    """How many connections the edge still holds beside the probe's."""
    return place.listeners[0].connections - 1


async def test_a_last_answer_may_be_taken_slowly(place: Place) -> None:
    """The clock of a closing connection starts when the answer has left, not when it was written."""
    _, connect = await place.start(Limits(sweep=0.01, linger_timeout=0.02))
    probe, client = await connect(), await connect()
    client.send(post("/big?20000000", b"", "Connection: close"))
    cast(asyncio.ReadTransport, client.writer.transport).pause_reading()
    await probe.until(lambda: left(place) == 1)
    later = monotonic() + 0.1
    await probe.until(lambda: monotonic() > later)
    cast(asyncio.ReadTransport, client.writer.transport).resume_reading()
    assert 20_000_000 == len((await client.reply()).body)
    assert b"" == await client.rest()


async def test_a_refused_client_may_send_on_for_a_little(place: Place) -> None:
    """What still comes after the last answer is thrown away, without a reset, up to a cap that ends it."""
    _, connect = await place.start(Limits(sweep=0.02, body=2000, linger_timeout=60))
    probe, client = await connect(), await connect()
    assert 400 == (await client.ask(b"junk\r\n\r\n")).status
    client.send(b"x" * 1000)
    assert b"" == await client.rest()
    await probe.turns(10)
    assert 1 == left(place)
    client.send(b"x" * 2000)
    await probe.until(lambda: left(place) == 0)


async def test_a_closing_connection_sees_its_client_leave(place: Place) -> None:
    """Reading that was paused goes on after the last answer, so that the end of the client is noticed."""
    app, connect = await place.start(Limits(sweep=0.02, pipelined=1000, unread=10**9, linger_timeout=60))
    probe, client = await connect(), await connect()
    client.send(post("/wait", b"", "Connection: close"), b"x" * 10_000_000)
    await app.started.wait()
    await probe.turns(20)
    app.release.set()
    assert 200 == (await client.reply()).status
    client.close()
    await probe.until(lambda: left(place) == 0)
