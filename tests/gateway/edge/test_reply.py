"""A response's head has the lines it was given and no others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.edge import reply
from gateway.edge.messages import HttpResponse


def test_head_of_a_response() -> None:
    """Status line, the application's headers in order, the length, the edge's own lines."""
    response = HttpResponse(200, (("X-B", "2"), ("X-A", "fast→accurate")))
    expected = "HTTP/1.1 200 OK\r\nX-B: 2\r\nX-A: fast→accurate\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
    assert expected.encode() == reply.head(response, 5, reply.CLOSE)


def test_no_length_where_there_is_no_body() -> None:
    """204 and 304 carry no Content-Length."""
    assert b"HTTP/1.1 204 No Content\r\n\r\n" == reply.head(HttpResponse(204), 0, "")
    assert (True, True, False) == (reply.bodiless(304, "GET"), reply.bodiless(200, "HEAD"), reply.bodiless(200, "GET"))


def test_framing_headers_of_the_application_are_left_out() -> None:
    """How the answer is framed is the edge's alone to say."""
    response = HttpResponse(499, (("Transfer-Encoding", "chunked"), ("CONNECTION", "keep-alive"), ("content-length", "9")))
    assert b"HTTP/1.1 499 \r\nContent-Length: 0\r\n\r\n" == reply.head(response, 0, "")


@given(st.lists(st.tuples(st.text(max_size=8), st.text(alphabet="ab:\r\n\0 é", max_size=8)), max_size=5))
def test_no_header_can_end_a_line(headers: list[tuple[str, str]]) -> None:
    """Names that are no tokens and values with CR, LF or NUL never reach the wire."""
    written = reply.head(HttpResponse(200, tuple(headers)), 0, "")
    lines = written.decode().split("\r\n")
    assert ("HTTP/1.1 200 OK", ["Content-Length: 0", "", ""]) == (lines[0], lines[-3:])
    given_lines = [f"{name}: {value}" for name, value in headers]
    assert all(line in given_lines for line in lines[1:-3])
    assert b"\0" not in written
    assert len(lines) - 1 == written.count(b"\r") == written.count(b"\n")


@given(st.text(alphabet="a→\ud800\r", max_size=8), st.binary(max_size=8))
def test_an_answer_in_parts_is_the_same(value: str, body: bytes) -> None:
    """Whatever a header says, text that is none included."""
    lines, own, date = reply.lines((("x-a", value),)), "\r\nx-b: 1", "Date: now\r\n"
    before, between, behind = reply.parts(lines, body)
    expected = reply.head(HttpResponse(200, lines=lines + own), len(body), date) + body
    assert expected == b"".join((before, own.encode(), between, date.encode(), behind))
