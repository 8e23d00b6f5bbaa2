"""The gate's rules, one by one, without a socket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.gate import CHUNKED, SINGLE, Framing, RefusedError, RequestLine, early, framing, nominated, request_line


def refused(line: bytes) -> int:
    """The status with which this line is refused."""
    with pytest.raises(RefusedError) as caught:
        request_line(line)
    return caught.value.status


def test_request_line_is_taken_apart() -> None:
    """Method, path and query come out as they were received, and the version as one bit."""
    assert RequestLine("POST", "/v2/models/a%20b/infer", "x=1&y=?", True) == request_line(
        b"POST /v2/models/a%20b/infer?x=1&y=? HTTP/1.1"
    )
    assert RequestLine("GET", "/", "", False) == request_line(b"GET / HTTP/1.0")


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"/a",
        b"/a/",
        b"/v1/models/m:predict",
        b"/...",
        b"/.a",
        b"/a..b",
        b"/a.",
        b"/%41",
        b"/%C3%A9",
        b"/a%25",
        b"/%2e%2e%2e",
    ],
)
def test_plain_paths_pass(path: bytes) -> None:
    """A path that names one thing in one way passes byte for byte."""
    assert path.decode() == request_line(b"GET " + path + b" HTTP/1.1").path


@pytest.mark.parametrize(
    "path",
    [
        b"/.", b"/..", b"/a/../b", b"/a/./b", b"/a/..", b"/%2e", b"/%2E%2e/x", b"/.%2e/x", b"//", b"//a", b"/a//b", b"/a%2fb",
        b"/a%2Fb", b"/a%5cb", b"/a%5Cb", b"/a%00", b"/a%0d%0a", b"/a%1f", b"/a%7f", b"/a;b", b"/a%3bb", b"/a\\b",
        b"/a\x00", b"/a\x7f",
        b"/a\x1f", b"/\xc3\xa9", b"/a#b", b"/a%", b"/a%4", b"/a%zz", b"a", b"*", b"https://x/a", b"http://x",
        b"http:///a", b"http://x/a/../b", b"/%c0%af", b"/%ff", b"/%e2%82", b"/a\"b", b"/a<b", b"/a|b", b"?x",
    ],
)  # fmt: skip
def test_doubtful_paths_are_refused(path: bytes) -> None:
    """Anything two servers could read differently, and every form but the origin form, is 400."""
    assert 400 == refused(b"GET " + path + b" HTTP/1.1")


@pytest.mark.parametrize("query", [b"a b", b"a#b", b"a\\b", b"a\x00", b"a\x7f", b"\xff"])
def test_doubtful_queries_are_refused(query: bytes) -> None:
    """A query holds printable ASCII without space, # and backslash."""
    assert 400 == refused(b"GET /a?" + query + b" HTTP/1.1")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"", 400), (b"GET", 400), (b"GET /a", 400), (b"GET  /a HTTP/1.1", 400), (b"GET /a  HTTP/1.1", 400),
        (b"GET /a HTTP/1.1 ", 400),
        (b"GET\t/a HTTP/1.1", 400), (b"GET /a http/1.1", 400), (b"GET /a RTSP/1.0", 400), (b"GET /a HTTP/1.10", 400),
        (b"GET /a HTTP/2.0", 505), (b"GET /a HTTP/1.2", 505), (b"GET /a HTTP/0.9", 505), (b"PRI * HTTP/2.0", 426),
        (b"CONNECT a:1 HTTP/1.1", 501), (b"TRACE /a HTTP/1.1", 501), (b"get /a HTTP/1.1", 501), (b"PURGE /a HTTP/1.1", 501),
    ],
)  # fmt: skip
def test_request_lines_are_refused_with_their_status(line: bytes, status: int) -> None:
    """llhttp lets several spaces, a missing version, RTSP and every registered method through; the gate does not."""
    assert status == refused(line)


@given(st.binary(max_size=40))
def test_a_path_that_passes_is_what_was_received(junk: bytes) -> None:
    """Whatever bytes come as a path: refused, or handed on unchanged and free of what hides a second meaning."""
    try:
        line = request_line(b"GET /" + junk + b" HTTP/1.1")
    except RefusedError:
        return
    whole = line.path + ("?" + line.query if b"?" in junk else "")
    assert (b"/" + junk).decode() == whole
    segments = line.path.lower().replace("%2e", ".").split("/")
    assert not {".", ".."} & set(segments)
    assert "" not in segments[1:-1]
    assert not any(mark in line.path.lower() for mark in ("%2f", "%5c", "%00", ";", "\\"))


def test_the_absolute_form_is_taken_apart() -> None:
    """Its authority stands beside the path, for whoever compares it with Host; nothing of it is decoded or repaired."""
    assert RequestLine("GET", "/a", "x", True, "H:80") == request_line(b"GET HTTP://H:80/a?x HTTP/1.1")


def test_nominated_fields_are_told() -> None:
    """All but those that say whether the connection is kept; what decides who asks or where a body ends is refused."""
    assert ["x-a", "b"] == nominated("Keep-Alive, X-A ,, close,\tb")
    assert [] == nominated("close")
    for name in SINGLE:
        with pytest.raises(RefusedError):
            nominated(f"close, {name}")


PLAIN = {"host": "a"}


def test_framing_of_the_usual_requests() -> None:
    """Length, keep-alive and expectation are read from the headers and the version."""
    assert Framing(0, True, False, True) == framing(PLAIN, (), True)
    assert Framing(7, True, False, True) == framing(PLAIN | {"content-length": "7"}, (), True)
    assert Framing(CHUNKED, True, False, True) == framing(PLAIN | {"transfer-encoding": "Chunked"}, (), True)
    assert Framing(0, False, False, True) == framing(PLAIN | {"connection": "Foo, Close"}, (), True)
    assert Framing(3, True, True, True) == framing(PLAIN | {"content-length": "3", "expect": "100-Continue"}, (), True)
    assert Framing(0, False, False, False) == framing({}, (), False)
    assert Framing(0, True, False, False) == framing({"connection": "keep-alive", "expect": "100-continue"}, (), False)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        (PLAIN | {"content-length": "+1"}, 400),
        (PLAIN | {"content-length": ""}, 400),
        (PLAIN | {"content-length": "1, 1"}, 400),
        (PLAIN | {"content-length": "0x1"}, 400),
        (PLAIN | {"content-length": "1_0"}, 400),
        (PLAIN | {"content-length": "٣"}, 400),
        (PLAIN | {"content-length": "1" * 20}, 400),
        (PLAIN | {"content-length": "1", "transfer-encoding": "chunked"}, 400),
        (PLAIN | {"transfer-encoding": "gzip"}, 501),
        (PLAIN | {"transfer-encoding": "gzip, chunked"}, 501),
        (PLAIN | {"transfer-encoding": "identity"}, 501),
        (PLAIN | {"upgrade": "websocket"}, 426),
        (PLAIN | {"upgrade": "h2c"}, 426),
        (PLAIN | {"http2-settings": "AAMA"}, 426),
        (PLAIN | {"expect": "200-ok"}, 417),
    ],
)
def test_framing_refuses(headers: dict[str, str], status: int) -> None:
    """Missing Host, lying or doubled lengths, other codings, upgrades and unknown expectations are refused."""
    with pytest.raises(RefusedError) as caught:
        framing(headers, (), True)
    assert status == caught.value.status


def test_chunked_is_not_for_http_1_0() -> None:
    """An HTTP/1.0 message with a transfer coding is refused, for an old intermediary would read it otherwise."""
    with pytest.raises(RefusedError) as caught:
        framing({"transfer-encoding": "chunked"}, (), False)
    assert 400 == caught.value.status


@pytest.mark.parametrize("name", sorted(SINGLE))
def test_single_headers_are_not_repeated(name: str) -> None:
    """A header that decides something comes once."""
    with pytest.raises(RefusedError) as caught:
        framing(PLAIN | {name: "a"}, [name], True)
    assert 400 == caught.value.status


@pytest.mark.parametrize("host", ["a", "a.b-c_d:80", "127.0.0.1:8080", "[::1]", "[fe80::1]:1"])
def test_hosts_pass(host: str) -> None:
    """Names and addresses with an optional port are hosts."""
    assert framing({"host": host}, (), True).keep


@pytest.mark.parametrize(
    "host", ["", "a b", "a,b", "a/b", "a@b", "u:p@h", "a:", "a:x", "a:123456", "[", "[x]", "::1", "a?", "a#", "é", "a" * 300]
)
def test_other_hosts_are_refused(host: str) -> None:
    """Whatever could be taken for a path, user or second host is 400."""
    with pytest.raises(RefusedError) as caught:
        framing({"host": host}, (), True)
    assert 400 == caught.value.status


@pytest.mark.parametrize(
    ("block", "status"),
    [
        (b"\x16\x03\x01", 400),
        (b" GET", 400),
        (b"\n", 400),
        (b"GET / HTTP/1.1\n", 400),
        (b"G" * 22, 414),
        (b"GET /\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"a" * 40, 431),
    ],
)
def test_hopeless_beginnings_are_refused_before_the_end(block: bytes, status: int) -> None:
    """A TLS hello, a bare LF or a head beyond its limit does not wait for a clock."""
    with pytest.raises(RefusedError) as caught:
        early(block, 20, 30)
    assert status == caught.value.status


@given(st.integers(0, 30))
def test_beginnings_of_a_good_head_pass(cut: int) -> None:
    """No prefix of a good head is refused."""
    block = b"GET / HTTP/1.1\r\nHost: a\r\n\r"[: max(1, cut)]
    early(block, 20, 30)
