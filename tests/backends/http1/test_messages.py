"""What is written to a backend: framed here, and never bent by what callers pass in."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from backends.http1.messages import UpstreamRequest, framed, heading

AUTHORITY = "127.0.0.1:8000"


def wire(request: UpstreamRequest) -> bytes:
    """The bytes that are sent."""
    return b"".join(framed(request, AUTHORITY))


def test_request_is_framed_with_host_and_length() -> None:
    """A request says where it goes and how long it is, then its headers in order and the body as it was."""
    headers = (("Content-Type", "a/b"), ("x-one", "é"))
    request = UpstreamRequest("POST", "/v2/models/a/infer?x=1", headers, (b"ab", memoryview(b"cd")))
    head = ["POST /v2/models/a/infer?x=1 HTTP/1.1", "host: 127.0.0.1:8000", "Content-Type: a/b", "x-one: é", "content-length: 4"]
    assert ("\r\n".join(head) + "\r\n\r\nabcd").encode("latin-1") == wire(request)


def test_get_has_no_length_and_empty_post_has_zero() -> None:
    """Only methods that usually carry a body announce an empty one."""
    assert wire(UpstreamRequest("GET", "/")) == b"GET / HTTP/1.1\r\nhost: 127.0.0.1:8000\r\n\r\n"
    empty = UpstreamRequest("POST", "/", body=(b"",))
    assert wire(empty) == b"POST / HTTP/1.1\r\nhost: 127.0.0.1:8000\r\ncontent-length: 0\r\n\r\n"


def test_length_counts_bytes_not_items() -> None:
    """The length of a view on wider items is its size in bytes."""
    values = memoryview(array("f", [1.0, 2.0, 3.0]))
    assert b"content-length: 12\r\n" in wire(UpstreamRequest("POST", "/", body=(values,)))


def test_large_bodies_are_not_joined() -> None:
    """A large piece is handed on as the same object; small requests become one piece."""
    large = bytes(1 << 20)
    assert large is framed(UpstreamRequest("POST", "/", body=(b"head", large)), AUTHORITY)[2]
    assert len(framed(UpstreamRequest("POST", "/", body=(b"head", b"tail")), AUTHORITY)) == 1


@pytest.mark.parametrize(
    "name",
    ["Connection", "content-length", "Expect", "HOST", "Keep-Alive", "Proxy-Authorization", "TE", "Trailer", "Transfer-Encoding"],
)
def test_framing_and_hop_by_hop_headers_are_dropped(name: str) -> None:
    """Headers that belong to one connection, or that only we may write, are not copied."""
    assert wire(UpstreamRequest("POST", "/", body=(b"x",))) == wire(UpstreamRequest("POST", "/", ((name, "777"),), (b"x",)))


@pytest.mark.parametrize(
    "request_",
    [
        UpstreamRequest("GET", "/", (("x", "a\r\nb: c"),)),
        UpstreamRequest("GET", "/", (("x", "a\nb"),)),
        UpstreamRequest("GET", "/", (("x", "a\rb"),)),
        UpstreamRequest("GET", "/", (("x", "a\0b"),)),
        UpstreamRequest("GET", "/", (("x", "日"),)),
        UpstreamRequest("GET", "/", (("x y", "a"),)),
        UpstreamRequest("GET", "/", (("x:", "a"),)),
        UpstreamRequest("GET", "/", (("x\n", "a"),)),
        UpstreamRequest("GET", "/", (("", "a"),)),
        UpstreamRequest("GET", "/a b"),
        UpstreamRequest("GET", "/a\r\nx: y"),
        UpstreamRequest("GET", "http://elsewhere/"),
        UpstreamRequest("GET", ""),
        UpstreamRequest("G T", "/"),
        UpstreamRequest("", "/"),
    ],
)
def test_what_would_bend_the_framing_is_refused(request_: UpstreamRequest) -> None:
    """Line breaks, NUL, blanks in the wrong place and foreign targets never reach the wire, nor the error's text."""
    with pytest.raises(InferenceError) as caught:
        wire(request_)
    assert ErrorKind.INVALID is caught.value.kind
    assert "elsewhere" not in caught.value.message


@given(st.lists(st.tuples(st.text(max_size=6), st.text(max_size=12)), max_size=4), st.text(max_size=12))
def test_no_header_or_path_makes_a_second_line(headers: list[tuple[str, str]], path: str) -> None:
    """Whatever is passed in: refused, or a head of exactly as many lines as it has headers."""
    try:
        sent = wire(UpstreamRequest("POST", "/" + path, tuple(headers), (b"body",)))
    except InferenceError:
        return
    head, _, body = sent.partition(b"\r\n\r\n")
    assert body == b"body"
    assert len(head.split(b"\r\n")) <= 3 + len(headers)
    assert head.count(b"\n") == head.count(b"\r") == len(head.split(b"\r\n")) - 1


def test_a_heading_ends_with_the_length() -> None:
    """It is the head of a request whose body is sent by somebody else."""
    request = UpstreamRequest("POST", "/a", (("x-request-id", "_"),), described=(("Inference-Header-Content-Length", "7"),))
    lines = [
        "POST /a HTTP/1.1",
        f"host: {AUTHORITY}",
        "Inference-Header-Content-Length: 7",
        "x-request-id: _",
        "content-length: 9",
    ]
    head = heading(request, AUTHORITY, 9)
    assert ("\r\n".join(lines) + "\r\n\r\n").encode() == head
    assert head + b"123456789" == wire(replace(request, body=(b"123456789",)))
