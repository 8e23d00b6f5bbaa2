"""Requests that a connection knows by their bytes, on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.gateway.edge.test_http1 import post

if TYPE_CHECKING:
    from tests.gateway.edge.conftest import Place

AGAIN = post("/again", b"x" * 500)


async def test_a_request_that_may_be_known_again_is_not_read_again(place: Place) -> None:
    """From its second time on it is answered by its bytes, on whichever connection, and the answer is as any other."""
    app, connect = await place.start()
    client, other = await connect(), await connect()
    assert [b"read", b"known", b"known"] == [(await client.ask(AGAIN)).body for _ in range(3)]
    assert [b"read", b"known"] == [(await other.ask(AGAIN)).body for _ in range(2)]  # it might have been another's first request
    assert (2, ["127.0.0.1"] * 3) == (len(app.heads), app.again)
    found = await client.ask(AGAIN)
    assert found.headers.pop("date").endswith("GMT")
    assert {"x-fixed": "1", "x-late": "True", "content-length": "5"} == found.headers
    assert b"y" == (await client.ask(post("/a", b"y"))).body
    assert b"read" == (await client.ask(AGAIN)).body  # the request before it was none of them
    app.knows = False
    assert [b"read", b"read"] == [(await client.ask(AGAIN)).body for _ in range(2)]
    app.knows = True
    assert [b"known", b"known"] == [(await client.ask(AGAIN)).body for _ in range(2)]


NOT_AGAIN = {
    "other bytes": [post("/again", b"y" * 500)],
    "another header": [post("/again", b"x" * 500, "X-A: 1")],
    "two at once": [AGAIN + AGAIN],
    "more behind it": [AGAIN + b"POST"],
    "in pieces": [AGAIN[:100], AGAIN[100:]],
}


@pytest.mark.parametrize("what", NOT_AGAIN)
async def test_whatever_is_not_one_whole_known_request_is_read(place: Place, what: str) -> None:
    """Nothing is guessed from a beginning, and nothing is lost."""
    app, connect = await place.start()
    client = await connect()
    for _ in range(2):
        await client.ask(AGAIN)
    known = len(app.again)
    probe = await connect()
    for piece in NOT_AGAIN[what]:
        client.send(piece)
        await probe.turns(2)
    assert b"read" == (await client.reply()).body
    assert known == len(app.again)


@pytest.mark.parametrize(
    "request_", [post("/again", b"x", "Connection: close"), b"POST /again HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"]
)
async def test_what_needs_a_word_on_the_connection_is_not_known_again(place: Place, request_: bytes) -> None:
    """A request that ends it, or of a client of old."""
    app, connect = await place.start()
    for _ in range(3):
        client = await connect()
        for _ in range(2):
            await client.ask(AGAIN)
        known = len(app.again)
        for _ in range(2 if b"keep-alive" in request_ else 1):
            reply = await client.ask(request_)
            assert (b"read", True) == (reply.body, reply.headers["connection"].encode() in request_)
        assert known == len(app.again)


async def test_a_body_that_looks_like_one_is_a_body(place: Place) -> None:
    """Whatever the connection was sent before it, and though it comes alone."""
    app, connect = await place.start()
    client, probe = await connect(), await connect()
    for _ in range(2):
        await client.ask(AGAIN)
    head, _, _ = post("/a", AGAIN).partition(b"\r\n\r\n")
    for piece in (head + b"\r\n\r\n", AGAIN):
        client.send(piece)
        await probe.turns(2)
    assert AGAIN == (await client.reply()).body
    assert 1 == len(app.again)


async def test_known_or_not_it_waits_for_a_client_that_takes_no_answers(place: Place) -> None:
    """And is answered when the client has taken what was before it. Each of them begins its idling anew."""
    app, connect = await place.start()
    client = await connect()
    for _ in range(2):
        await client.ask(AGAIN)
    (connection,) = place.listeners[0]._shared.connections
    began = connection._since
    await client.ask(AGAIN)
    assert began < connection._since
    probe = await connect()
    known = len(app.again)
    connection.pause_writing()
    client.send(AGAIN)
    await probe.turns(2)
    assert (known, AGAIN) == (len(app.again), connection._buffer)
    connection.resume_writing()
    assert b"read" == (await client.reply()).body


async def test_an_empty_line_before_each(place: Place) -> None:
    """One is no more than one, though what comes behind it may be known."""
    _, connect = await place.start()
    client, probe = await connect(), await connect()
    await client.ask(AGAIN)
    for _ in range(3):
        client.send(b"\r\n")
        await probe.turns(1)
        assert 200 == (await client.ask(AGAIN)).status


async def test_two_without_bodies_are_two(place: Place) -> None:
    """However often they come together."""
    _, connect = await place.start()
    client, two = await connect(), 2 * post("/again", b"")
    for _ in range(3):
        client.send(two)
        assert [b"read", b"read"] == [(await client.reply()).body for _ in range(2)]


async def test_who_would_wait_for_a_word_has_the_answer_at_once(place: Place) -> None:
    """`Expect: 100-continue` with its body beside it: there is nothing to wait for (RFC 9110 section 10.1.1)."""
    _, connect = await place.start()
    client, asked = await connect(), post("/again", b"x", "Expect: 100-continue")
    assert [(200, b"read"), (200, b"known"), (200, b"known")] == [(await client.ask(asked))[::2] for _ in range(3)]
