"""Bounds and clocks: each has its own word, counts exactly, and is what gateway.yaml says."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.conformance import raw
from tests.conformance.raw import BODY, LIVE, OK, Case, Gate, bad, chunked, good, play, request
from tests.real_parts import until

pytestmark = pytest.mark.slow

LIMITS: dict[str, Any] = {
    "request_line": "256B", "headers": "1KiB", "header_count": 20, "body": "4KiB", "inflated": "8KiB", "chunks": 8,
    "connections": 12,
    "connections_per_address": 8, "pipelined": "2KiB", "unread": "1KiB", "first_byte_timeout": "600ms",
    "headers_timeout": "300ms",
    "body_grace": "300ms", "body_rate": "1KiB", "write_timeout": "300ms", "idle_timeout": "600ms", "linger_timeout": "200ms",
}  # fmt: skip
SWEEP = 0.5  # seconds that a clock may run over


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gateway with little room and short clocks."""
    with raw.gate(tmp_path_factory.mktemp("small"), **LIMITS) as made:
        yield made


def padded(size: int) -> bytes:
    """The question, so long."""
    return BODY + b" " * (size - len(BODY))


def coded(coding: str, body: bytes) -> bytes:
    return request(f"Content-Encoding: {coding}", body=body)


TE = "Transfer-Encoding: chunked"
LINE = "POST /v2/models/echo/infer?{} HTTP/1.1"
ROOM = 256 - len(LINE.format(""))
EMPTY = request("X: ")
FILLED = 1024 - (EMPTY.index(b"\r\n\r\n") - EMPTY.index(b"\r\n"))  # lines with their ends, the first one not counted

BOUNDS = [
    good("a request line as long as allowed", request(line=LINE.format("x" * ROOM))),
    bad("a request line one longer", request(line=LINE.format("x" * (ROOM + 1))), 414, "request-line"),
    bad("a request line without end", b"GET /" + b"x" * 300, 414, "request-line"),
    good("headers as many as allowed", request(*["X: y"] * 17)),
    bad("one header more", request(*["X: y"] * 18), 431, "header-count"),
    good("headers as long as allowed", request("X: " + "y" * FILLED)),
    bad("headers one longer", request("X: " + "y" * (FILLED + 1)), 431, "headers"),
    bad("headers without end", LIVE[:-2] + b"X: " + b"y" * 2000, 431, "headers"),
    bad("a header line without end", LIVE[:-2] + b"y" * 2000, 431, "headers"),
    good("a body as long as allowed", request(body=padded(4096))),
    bad("a body one longer", request("Content-Length: 4097", body=b""), 413, "body"),
    bad("a body of more than there are numbers", request("Content-Length: 999999999999999", body=b""), 413, "body"),
    good("chunks as long as allowed", request(TE, body=chunked(padded(4000), b" " * 96))),
    bad("chunks one longer", request(TE, body=b"fa0\r\n" + padded(4000) + b"\r\n61\r\n"), 413, "body"),
    bad("one endless chunk", request(TE, body=b"ffffffff\r\n"), 413, "body"),
    good("chunks as many as allowed", request(TE, body=chunked(BODY, *[b" "] * 7))),
    bad("one chunk more", request(TE, body=chunked(BODY, *[b" "] * 8)), 413, "chunks"),
    good("gzip", coded("gzip", gzip.compress(BODY))),
    good("gzip of two members", coded("gzip", gzip.compress(BODY[:9]) + gzip.compress(BODY[9:]))),
    good("deflate", coded("deflate", zlib.compress(BODY))),
    good("inflated as long as allowed", coded("gzip", gzip.compress(padded(8192)))),
    good("inflated one longer", coded("gzip", gzip.compress(padded(8193))), (413, "inflated"), asked=0),
    good("two codings", coded("gzip, gzip", gzip.compress(gzip.compress(BODY))), (415, "unsupported"), asked=0),
    good("two coding fields", request("Content-Encoding: gzip", "Content-Encoding: gzip", body=b"x"), (415,
        "unsupported"), asked=0),
    good("an unknown coding", coded("compress", BODY), (415, "unsupported"), asked=0),
    good("not what it says", coded("gzip", BODY), (400, "invalid"), asked=0),
    good("cut short", coded("gzip", gzip.compress(BODY)[:-1]), (400, "invalid"), asked=0),
    good("a refused body as long as is thrown away", request(line="POST /v2/none HTTP/1.1", body=b"x" * 1024), (404,
        "path"), asked=0),
    Case("a refused body one longer", request(line="POST /v2/none HTTP/1.1", body=b"x" * 1025), ((404, "path"),)),
    good("many requests in a row", request() * 30, *[OK] * 30, asked=30),
]  # fmt: skip


@pytest.mark.parametrize("case", BOUNDS, ids=str)
def test_bounds(small: Gate, case: Case) -> None:
    """Exactly as much as is allowed passes; one more is refused with its own reason."""
    for asked in play(small, case):
        assert "/v2/models/echo/infer" == asked.path


def test_a_known_head_keeps_to_the_bounds(small: Gate) -> None:
    """A body one too long is refused in the words it always is, also where requests with such a head are asked at once."""
    longest = BODY.replace(b"[7]", b"[" + b" " * (4096 - len(BODY)) + b"7]")
    with small.client() as client:
        for body in (BODY, BODY, longest, BODY):
            client.send(request(body=body))
            assert (reply := client.reply()) is not None
            assert 200 == reply.status
        client.send(request(body=longest.replace(b"7]", b" 7]")))
        assert (reply := client.reply()) is not None
        assert (413, "body") == (reply.status, reply.reason)
        assert client.reply() is None


def answered(gate: Gate, request: bytes) -> int:
    """The status a new client gets; 0 for none."""
    with gate.client() as client:
        try:
            client.send(request)
            reply = client.reply()
        except ConnectionError:  # refused and closed before it was sent
            return 0
    return 0 if reply is None else reply.status


def test_connections(small: Gate) -> None:
    """One address has its share, all together have theirs; who comes too much is told which, and room made is room used."""
    with ExitStack() as held:
        clients = [held.enter_context(small.client(f"127.0.0.{2 + number // 8}")) for number in range(12)]
        for source, answer in (("127.0.0.2", (503, "connections")), ("127.0.0.9", (503, "connections"))):
            with small.client(source) as refused:
                assert (reply := refused.reply()) is not None
                assert answer == (reply.status, reply.reason)
        for client in clients[8:]:
            client.__exit__()
        until(lambda: answered(small, LIVE) == 200)  # the gate notices a moment after its clients have gone
        with small.client("127.0.0.2") as refused:
            assert (reply := refused.reply()) is not None
            assert (429, "connections-per-address", "close") == (reply.status, reply.reason, reply.headers["connection"])
            assert "retry-after" in reply.headers


def slow(gate: Gate, first: bytes, piece: bytes = b"") -> tuple[float, raw.Reply | None]:
    """A client that sends the first bytes, then a piece every 50 ms until it is answered; how long that took."""
    with gate.client() as client:
        begin = time.monotonic()
        client.send(first)
        client.socket.settimeout(0.05)
        while time.monotonic() - begin < 5:
            try:
                client.stream.peek(1)
                break
            except TimeoutError:
                client.stream = client.socket.makefile("rb")  # one that timed out is no use
                client.send(piece)
        client.socket.settimeout(5)
        return time.monotonic() - begin, client.reply()


@pytest.mark.parametrize(
    ("first", "piece", "least", "status"),
    [
        pytest.param(b"", b"", 0.6, 0, id="no byte"),
        pytest.param(LIVE[:9], b"", 0.3, 408, id="a head that stops"),
        pytest.param(LIVE[:-2] + b"X: ", b"y", 0.3, 408, id="a head that trickles"),
        pytest.param(request("Content-Length: 4000", body=b"{"), b"", 0.3, 408, id="a body that stops"),
        pytest.param(request("Content-Length: 4000", body=b"{"), b" ", 0.3, 408, id="a body that trickles"),
        pytest.param(request(TE, body=b"1\r\n{\r\n"), b"1\r\n \r\n", 0.0, 413, id="a body that trickles in chunks"),
        pytest.param(request(TE, body=b"fff;"), b"a", 0.3, 408, id="a chunk's size that trickles"),
    ],
)  # fmt: skip
def test_clocks(small: Gate, first: bytes, piece: bytes, least: float, status: int) -> None:
    """Who is too slow hears 408 when the clock has run out, not before and not much later; who said nothing hears nothing."""
    seconds, reply = slow(small, first, piece)
    assert status == (reply.status if reply is not None else 0)
    if reply is not None and status == 408:
        assert "slow" == reply.reason
    assert least <= seconds < least + SWEEP + 0.5


def test_idle_connections_end(small: Gate) -> None:
    """After an answer a connection waits for the next request so long and no longer; every request winds the clock up."""
    with small.client() as client:
        for _ in range(3):
            client.send(LIVE)
            assert client.reply() is not None
            time.sleep(0.3)
        client.send(LIVE)
        assert client.reply() is not None
        begin = time.monotonic()
        assert client.reply() is None
        assert 0.55 <= time.monotonic() - begin < 0.6 + SWEEP + 0.5


def test_a_steady_body_is_not_slow(small: Gate) -> None:
    """A body that keeps the rate may take longer than the clock."""
    whole = request(body=padded(4096))
    with small.client() as client:
        for at in range(0, len(whole), 256):
            client.send(whole[at : at + 256])
            time.sleep(0.06)
        assert (reply := client.reply()) is not None
        assert 200 == reply.status
