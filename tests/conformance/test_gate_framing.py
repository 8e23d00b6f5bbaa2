"""Framing: where a request ends is never in doubt, and one request of a client is at most one at the backend."""

from __future__ import annotations

import socket

import pytest

from tests.conformance.raw import BODY, KEY, LIVE, OK, Case, Gate, bad, chunked, good, play, request
from tests.real_parts import until

pytestmark = pytest.mark.slow

TE = "Transfer-Encoding: chunked"
HALF = len(BODY) // 2
SMUGGLED = request("X-Request-Id: smuggled")


def with_chunks(body: bytes) -> bytes:
    return request(TE, body=body)


def fields(*lines: str) -> bytes:
    """A question with these fields and a length."""
    return request(f"Content-Length: {len(BODY)}", *lines)


LENGTHS = [
    bad("length and chunked", request("Content-Length: 6", TE, body=b"0\r\n\r\nX" + SMUGGLED), 400, "framing"),
    bad("chunked and length", request(TE, "Content-Length: 6", body=b"0\r\n\r\nX" + SMUGGLED), 400, "framing"),
    bad("two lengths", request(f"Content-Length: {len(BODY)}", "Content-Length: 0"), 400, "framing"),
    bad("two equal lengths", request(*2 * [f"Content-Length: {len(BODY)}"]), 400, "framing"),
    bad("a list of lengths", request(f"Content-Length: {len(BODY)}, {len(BODY)}"), 400, "framing"),
    *(
        bad(f"length {text!r}", request(f"Content-Length: {text}", body=SMUGGLED), 400, "framing")
        for text in ("+5", "-5", "0x5", "5 5", "5a", "1_0", "", "5;x", "9" * 30, "5.0", "\xb2", "'5'")
    ),
    good("a length with zeros before it", request(f"Content-Length: 000{len(BODY)}")),
    good("blanks around a length", request(f"Content-Length: \t {len(BODY)} \t")),
    bad("a length name with a blank", request(f"Content-Length : {len(BODY)}"), 400, "framing"),
    bad("a length name with a tab", request(f"Content-Length\t: {len(BODY)}"), 400, "framing"),
    bad("a length name with a NUL", fields("Content-Length\0: 0"), 400, "framing"),
    good("a length by another name", fields("Content_Length: 0", "X-Content-Length: 0")),
    good("a question behind no length is a second request", LIVE.replace(b"\r\n\r\n", b"\r\nX: y\r\n\r\n") + SMUGGLED, OK, OK),
]

CODINGS = [
    good("chunked", with_chunks(chunked(BODY))),
    good("chunked in any letters", request("transfer-encoding: Chunked", body=chunked(BODY))),
    *(
        Case(f"coding {text!r}", request(f"Transfer-Encoding: {text}", body=chunked(BODY) + SMUGGLED), (answer,))
        for text, answer in {
            "gzip": (501, "framing"),
            "gzip, chunked": (501, "framing"),
            "chunked, gzip": (400, "framing"),
            "chunked, identity": (400, "framing"),
            "chunked, chunked": (400, "framing"),
            "identity": (501, "framing"),
            "xchunked": (501, "framing"),
            "chunked;q=1": (501, "framing"),
            "chun ked": (501, "framing"),
            "\x0bchunked": (400, "framing"),
            "chunked\x0c": (400, "framing"),
            '"chunked"': (501, "framing"),
            "\xa0chunked": (501, "framing"),
            ",chunked": (501, "framing"),
            "": (400, "framing"),
        }.items()
    ),
    bad("two codings", request(TE, TE, body=chunked(BODY)), 400, "framing"),
    bad("a coding on a folded line", request("Transfer-Encoding:\r\n chunked", body=chunked(BODY)), 400, "framing"),
    bad("a coding name with a blank", request("Transfer-Encoding : chunked", body=chunked(BODY)), 400, "framing"),
    good("a coding by another name", fields("Transfer_Encoding: chunked", "X-Transfer-Encoding: chunked")),
    bad("chunked in 1.0", request(TE, line="POST /v2/models/echo/infer HTTP/1.0", body=chunked(BODY)), 400, "framing"),
]

CHUNKS = [
    good("many chunks", with_chunks(chunked(*(BODY[i : i + 3] for i in range(0, len(BODY), 3))))),
    good("sizes in any hex", with_chunks(b"%04X\r\n%s\r\n0000\r\n\r\n" % (len(BODY), BODY))),
    good("a small extension", with_chunks(b"%x;a=b;c=\"d;e\"\r\n%s\r\n0;last\r\n\r\n" % (len(BODY), BODY))),
    good("trailers", with_chunks(chunked(BODY, end=b"0\r\nX-A: 1\r\nContent-Length: 3\r\nHost: evil\r\n\r\n"))),
    bad("a large extension", with_chunks(b"%x;%s\r\n%s\r\n0\r\n\r\n" % (len(BODY), b"a" * 300, BODY)), 400, "framing"),
    *(
        bad(f"size {size!r}", with_chunks(size + b"\r\n" + BODY + b"\r\n0\r\n\r\n" + SMUGGLED), 400, "framing")
        for size in (
            b"", b" ", b"-1", b"+5", b"0x5", b"5_0", b"g", b"5 5", b" 5", b"5 ", b"fffffffff", b"1" * 17, b"5,5", b"5\t", b"5\0",
            b"5\x0b", b"5\r", b"5;a\rb", b"5;a\0", b"5;\xff", b"\xd9\xa5",
        )
    ),
    bad("a chunk longer than its size", with_chunks(b"3\r\nabcd\r\n0\r\n\r\n"), 400, "framing"),
    bad("a chunk ended by LF", with_chunks(b"%x\r\n%s\n0\r\n\r\n" % (len(BODY), BODY)), 400, "framing"),
    bad("a chunk ended by CR", with_chunks(b"%x\r\n%s\r0\r\n\r\n" % (len(BODY), BODY)), 400, "framing"),
    bad("a size ended by LF", with_chunks(b"%x\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)), 400, "framing"),
    bad("a size ended by CR", with_chunks(b"%x\r%s\r\n0\r\n\r\n" % (len(BODY), BODY)), 400, "framing"),
    bad("an extension ended by LF", with_chunks(b"%x;a\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)), 400, "framing"),
    bad("an end by LF", with_chunks(chunked(BODY, end=b"0\n\n")), 400, "framing"),
    bad("an end without its empty line", with_chunks(chunked(BODY, end=b"0\r\n") + SMUGGLED), 400, "framing"),
    bad("a folded trailer", with_chunks(chunked(BODY, end=b"0\r\nA: b\r\n c\r\n\r\n")), 400, "framing"),
    bad("a trailer with NUL", with_chunks(chunked(BODY, end=b"0\r\nA: \0\r\n\r\n")), 400, "framing"),
    bad("large trailers", with_chunks(chunked(BODY, end=b"0\r\n" + b"A: b\r\n" * 2000 + b"\r\n")), 431, "headers"),
    bad("an endless trailer", with_chunks(chunked(BODY, end=b"0\r\n" + b"A" * 9000)), 400, "framing"),
]  # fmt: skip

LINES = [
    bad("LF for CR LF", request().replace(b"\r\n", b"\n"), 400, "framing"),
    bad("LF behind the first line", request().replace(b"\r\n", b"\n", 1), 400, "request-line"),
    bad("LF in a field", fields("X: a\nY: b"), 400, "framing"),
    bad("CR in a field", fields("X: a\rY: b"), 400, "framing"),
    bad("CR before the end", request().replace(b"\r\n\r\n", b"\r\r\n\r\n"), 400, "framing"),
    bad("LF LF as the end", request().replace(b"\r\n\r\n", b"\n\n"), 400, "framing"),
    bad("a folded line", fields("X: a\r\n b"), 400, "framing"),
    bad("a line folded by a tab", fields("X: a\r\n\tb"), 400, "framing"),
    bad("a blank before the first field", request().replace(b"\r\n", b"\r\n ", 1), 400, "framing"),
    bad("a field without a colon", fields("X"), 400, "framing"),
    bad("a field without a name", fields(": x"), 400, "framing"),
    *(
        bad(f"name with {chr(byte)!r}", fields(f"X{chr(byte)}Y: a"), 400, "framing")
        for byte in (0, 1, 9, 11, 32, 34, 40, 44, 47, 64, 91, 123, 127, 233)
    ),
    *(bad(f"value with {chr(byte)!r}", fields(f"X: a{chr(byte)}b"), 400, "framing") for byte in (0, 1, 8, 11, 12, 27, 127)),
    good("value with letters of others", fields("X: a\t\xe9b")),
    good("an empty value", fields("X:")),
    good("one empty line before", b"\r\n" + request()),
    bad("two empty lines before", b"\r\n\r\n" + request(), 400, "request-line"),
    bad("many empty lines", b"\r\n" * 50_000, 400, "request-line"),
    bad("LF before", b"\n" + request(), 400, "request-line"),
    bad("blanks before", b" " + request(), 400, "request-line"),
    bad("NUL before", b"\0" + request(), 400, "request-line"),
    bad("a byte order mark", b"\xef\xbb\xbf" + request(), 400, "request-line"),
]

VERSIONS = [
    bad("HTTP/0.9", b"GET /v2/health/live\r\n", 400, "request-line"),
    bad("HTTP/0.9 with fields", b"GET /v2/health/live\r\nHost: h\r\n\r\n", 400, "request-line"),
    *(
        bad(f"version {version!r}", request(line=f"POST /v2/models/echo/infer {version}"), status, reason)
        for version, status, reason in (
            ("HTTP/0.9", 505, "version"), ("HTTP/1.2", 505, "version"), ("HTTP/2.0", 505, "version"), ("HTTP/3.0", 505,
            "version"),
            ("HTTP/1.10", 400, "request-line"), ("HTTP/1", 400, "request-line"), ("HTTP/01.1", 400, "request-line"),
            ("http/1.1", 400, "request-line"), ("HTTP 1.1", 400, "request-line"), ("HTTP/1.1 ", 400, "request-line"),
            ("HTTP/1.1\0", 400, "request-line"), ("HTTP/1,1", 400, "request-line"), ("HTTP/+1.1", 400, "request-line"),
            ("ICE/1.0", 400, "request-line"), ("RTSP/1.0", 400, "request-line"), ("HTTP/1.1\tX", 400, "request-line"),
        )
    ),
    bad("two blanks", request(line="POST  /v2/models/echo/infer HTTP/1.1"), 400, "request-line"),
    bad("a tab", request(line="POST\t/v2/models/echo/infer HTTP/1.1"), 400, "request-line"),
    bad("a blank in the path", request(line="POST /v2/models/echo/infer x HTTP/1.1"), 400, "request-line"),
    bad("a vertical tab", request(line="POST\x0b/v2/models/echo/infer HTTP/1.1"), 400, "request-line"),
    Case("HTTP/1.0", request(line="POST /v2/models/echo/infer HTTP/1.0", host=""), (OK,), asked=1),
    bad("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 426, "upgrade"),
    bad("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "request-line"),
    bad("an upgrade to h2c", fields("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"), 426,
        "upgrade"),
    bad("an upgrade to websocket", fields("Connection: upgrade", "Upgrade: websocket"), 426, "upgrade"),
    bad("an upgrade that Connection does not name", fields("Upgrade: h2c"), 426, "upgrade"),
    *(
        bad(f"method {method}", request(line=f"{method} /v2/models/echo/infer HTTP/1.1"), 501, "method")
        for method in ("TRACE", "PURGE", "post", "PROPFIND", "POSTX", "M-SEARCH")
    ),
    bad("CONNECT", request(line="CONNECT h:80 HTTP/1.1"), 501, "method"),
    *(
        bad(f"method {method!r}", request(line=f"{method} /v2/models/echo/infer HTTP/1.1"), status, reason)
        for method, status, reason in (("PO\0ST", 400, "request-line"), ("\"POST\"", 400, "request-line"), ("(GET)", 400,
        "request-line"))
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", [*LENGTHS, *CODINGS, *CHUNKS, *LINES, *VERSIONS], ids=str)
def test_framing(gate: Gate, case: Case) -> None:
    """What two parties could read differently is refused and ends the connection; what is good is asked once, framed anew."""
    for asked in play(gate, case):
        assert "POST /v2/models/echo/infer HTTP/1.1" == asked.line
        assert len(asked.body) == int(asked.value("content-length"))


def test_the_backend_gets_only_what_the_gateway_says(gate: Gate) -> None:
    """Of a client's headers only the request's id and its trace go on, freshly framed; hop-by-hop ones and trailers never."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    hop = ("TE: trailers", "Trailer: X-T", "Keep-Alive: timeout=5", "Proxy-Authorization: Basic eDp5", "Cookie: a=b", "X-Own: 1")
    sent = request(TE, f"traceparent: {trace}", "X-Request-Id: mine-1", *hop, body=chunked(BODY, end=b"0\r\nX-T: 1\r\n\r\n"))
    (asked,) = play(gate, good("all kinds of fields", sent))
    told = {"host", "content-length", "content-type", "inference-header-content-length", "x-request-id", "traceparent"}
    assert told >= {name for name, _ in asked.fields}
    assert "mine-1" == asked.value("x-request-id")
    assert trace[3:35] == asked.value("traceparent")[3:35]
    assert gate.backend.address == asked.value("host")


def test_nominated_fields_stay_here(gate: Gate) -> None:
    """What the Connection header names is for this hop alone; who asks and how long the body is cannot be named."""
    sent = fields("Connection: keep-alive, X-Request-Id, traceparent", "X-Request-Id: mine-2", "traceparent: 00-" + "1" * 32)
    (asked,) = play(gate, good("nominated", sent))
    assert "mine-2" != asked.value("x-request-id")
    for name in ("Host", "X-API-Key", "authorization", "Content-Length", "transfer-encoding", "Content-Type"):
        play(gate, bad(name, fields(f"Connection: close, {name}"), 400, "header"))


@pytest.mark.parametrize(
    "case",
    [
        good("401, small body", request().replace(b"X-API-Key: ", b"X-Nothing: ") + request(), (401, "no-credential"), OK),
        good("404, then a question", request(line="POST /v2/models/none/infer HTTP/1.1") + request(), (404, "not-found"), OK),
        good("404, a question as its body", request(line="POST /v2/none HTTP/1.1", body=SMUGGLED), (404, "path"), asked=0),
        good(
            "404, a question in chunks",
            request(TE, line="POST /v2/none HTTP/1.1", body=chunked(SMUGGLED)) + request(),
            (404, "path"),
            OK,
        ),
        Case(
            "404, a large body", request("Content-Length: 300000", line="POST /v2/none HTTP/1.1", body=SMUGGLED), ((404, "path"),)
        ),
        Case("413, by its length", request(f"Content-Length: {65 << 20}", body=SMUGGLED), ((413, "body"),)),
        Case(
            "404, an expectation",
            request("Content-Length: 5", "Expect: 100-continue", line="POST /v2/none HTTP/1.1", body=b""),
            ((404, "path"),),
        ),
        good("an expectation that is not waited for", fields("Expect: 100-continue")),
        bad("another expectation", fields("Expect: 200-ok"), 417, "header"),
        good("pipelined", request() * 20, *[OK] * 20, asked=20),
        Case("pipelined, the last one broken", request() + LIVE + b"junk\r\n\r\n", (OK, OK, (400, "request-line")), asked=1),
        Case("nothing behind close", fields("Connection: close") + SMUGGLED, (OK,), asked=1),
        good("pipelined refusals", LIVE.replace(b"health/live", b"none") * 300, *[(404, "path")] * 300, asked=0),
    ],
    ids=str,
)
def test_answers_before_the_body_and_requests_in_a_row(gate: Gate, case: Case) -> None:
    """A body whose request was answered already is never read as a request; answers come in the order of requests."""
    for asked in play(gate, case):
        assert "smuggled" not in [value for _, value in asked.fields]


def test_a_client_that_shuts_its_side_is_answered(gate: Gate) -> None:
    """As `nc -N` does: the question and the end in one go."""
    with gate.client() as client:
        client.send(request() * 3)
        client.socket.shutdown(socket.SHUT_WR)
        assert [200, 200, 200] == [reply.status if (reply := client.reply()) else 0 for _ in range(3)]
        assert client.reply() is None
    until(gate.process.idle)


@pytest.mark.parametrize("step", [1, 7])
def test_bytes_one_by_one(gate: Gate, step: int) -> None:
    """However the bytes are cut, the request is the same."""
    sent = with_chunks(chunked(BODY[:HALF], BODY[HALF:]))
    with gate.client() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        whole = sent.replace(KEY, gate.process.key.encode())
        for at in range(0, len(whole), step):
            client.send(whole[at : at + step])
        assert (reply := client.reply()) is not None
        assert 200 == reply.status
