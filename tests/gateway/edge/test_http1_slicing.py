"""A stream of requests means the same however its bytes are cut."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from backends.errors import InferenceError
from gateway.edge.http1 import Connection
from gateway.edge.limits import Limits
from gateway.edge.messages import Admitted, HttpResponse, RequestHead
from gateway.edge.shared import Shared
from tests.gateway.edge.conftest import Place

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"


def post(path: str, body: bytes) -> bytes:
    """A whole request with its length."""
    return f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\nX-A: b\r\n\r\n".encode() + body


def chunked(chunks: list[bytes]) -> bytes:
    """A whole request in chunks."""
    lines = b"POST /chunked HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    return lines + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def write_eof(self) -> None:
        self.closed = True


class Echo:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []

    def admit(self, head: RequestHead) -> Admitted | HttpResponse:
        if head.path == "/no":
            self.seen.append((head.method, head.path, dict(head.headers), b""))
            return HttpResponse(403)

        async def answer(body: bytes) -> HttpResponse:
            self.seen.append((head.method, head.path, dict(head.headers), body))
            return HttpResponse(200, (), body)

        return answer

    def left(self, stage: str) -> None:
        """Nobody counts."""

    def refuse(self, error: InferenceError, status: int, head: RequestHead | None) -> HttpResponse:
        raise AssertionError(error)


async def deliver(pieces: list[bytes], requests: int) -> tuple[bytes, Echo]:
    """What one connection writes and hands on when these pieces arrive."""
    app = Echo()
    connection = Connection(Shared(app, Limits()))
    wire = Wire()
    connection.connection_made(wire)
    for piece in pieces:
        connection.data_received(piece)
        await asyncio.sleep(0)  # sometimes before, sometimes after the answer
    for _ in range(4 * requests):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    return wire.written, app


REQUESTS = st.lists(
    st.one_of(
        st.builds(post, st.sampled_from(["/sized", "/no"]), st.binary(max_size=50)),
        st.builds(chunked, st.lists(st.binary(min_size=1, max_size=20), max_size=4)),
        st.sampled_from([GET, b"\r\n" + GET]),
    ),
    min_size=1,
    max_size=5,
)


@settings(deadline=None)
@given(REQUESTS, st.lists(st.integers(0, 2000), max_size=30))
def test_any_slicing_gives_the_same_requests(requests: list[bytes], cuts: list[int]) -> None:
    """However a valid stream is cut, byte by byte included, heads, bodies and answers are the same."""
    stream = b"".join(requests)
    edges = sorted({0, len(stream), *(cut % len(stream) for cut in cuts)})
    slices = [stream[a:b] for a, b in pairwise(edges)]
    whole, expected = asyncio.run(deliver([stream], len(requests)))
    assert len(requests) == len(expected.seen)
    for pieces in (slices, [stream[i : i + 1] for i in range(len(stream))]):
        written, app = asyncio.run(deliver(pieces, len(requests)))
        assert expected.seen == app.seen
        assert whole == written


async def test_one_empty_line_may_come_before_each_request(place: Place) -> None:
    """However it is cut; a second one is refused, so nobody holds an idle connection open by sending nothing else."""
    _, connect = await place.start()
    probe, client = await connect(), await connect()
    for _ in range(3):
        for piece in (b"\r", b"\n"):
            client.send(piece)
            await probe.turns(1)
        assert 200 == (await client.ask(GET)).status
        assert 200 == (await client.ask(b"\r\n" + GET)).status
    client.send(b"\r\n")
    await probe.turns(1)
    assert 400 == (await client.ask(b"\r\n")).status
    assert b"" == await client.rest()
