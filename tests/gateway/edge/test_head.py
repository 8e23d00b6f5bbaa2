"""What llhttp lets through, what the edge makes of it, and what the edge adds."""

from __future__ import annotations

import pytest

from gateway.edge.gate import RefusedError
from gateway.edge.head import LastHead, read_head
from gateway.edge.limits import Limits

LINE = b"POST /a?b HTTP/1.1\r\nHost: h\r\n"


def refused(block: bytes, limits: Limits | None = None) -> int:
    """The status with which this head is refused."""
    with pytest.raises(RefusedError) as caught:
        read_head(block, limits or Limits(), "p", 0.0)
    return caught.value.status


def test_a_head_becomes_one_value() -> None:
    """Names in lower case, values trimmed, repeats joined by a comma, everything else as received."""
    head, framing = read_head(
        LINE + b"X-A: 1\r\nx-a:\t2 \t\r\nEmpty:\r\nAfter: \xe9\r\nContent-Length: 5 \r\n\r\n", Limits(), "peer", 1.5
    )
    assert {"host": "h", "x-a": "1, 2", "empty": "", "after": "é", "content-length": "5"} == head.headers
    assert ("POST", "/a", "b", "peer", 1.5) == (head.method, head.path, head.query, head.peer, head.received)
    assert 5 == framing.length


@pytest.mark.parametrize(
    "field",
    [
        b"A : x", b" A: x", b"A: x\r\n b", b"A: x\r\n\tb", b"A: x\nB: y", b"A: x\ry", b"A: \x00", b"A: \x01",
        b"A: \x7f", b"A\xff: b", b": b",
        b"A", b"A(: x", b"Host: h", b"Content-Length: 1\r\nContent-Length: 1", b"Content-Length: 1, 1", b"Content-Length: +1",
        b"Content-Length: 99999999999999999999999", b"Content-Length: 1\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 1", b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: \x0bchunked",
        b"Authorization: a\r\nAuthorization: a",
        b"X-Api-Key: a\r\nX-API-KEY: b", b"Content-Type: a\r\nContent-Type: a",
        b"X-Request-Timeout-Ms: 1\r\nX-Request-Timeout-Ms: 1",
    ],
)  # fmt: skip
def test_malformed_fields_are_400(field: bytes) -> None:
    """Bare LF and CR, folded lines, spaces before the colon, control bytes, doubled framing: 400 each."""
    assert 400 == refused(LINE + field + b"\r\n\r\n")


@pytest.mark.parametrize(
    ("field", "status"),
    [
        (b"Transfer-Encoding: gzip", 501),
        (b"Transfer-Encoding: xchunked", 501),
        (b"Transfer-Encoding: identity", 501),
        (b"Upgrade: h2c", 426),
        (b"Connection: upgrade\r\nUpgrade: websocket", 426),
    ],
)
def test_what_is_not_spoken_here_has_its_own_status(field: bytes, status: int) -> None:
    """Other transfer codings are 501, upgrades 426, whether llhttp stops at them or not."""
    assert status == refused(LINE + field + b"\r\n\r\n")


def test_limits_of_a_head() -> None:
    """A long request line is 414; too many or too long headers are 431; exactly the limit passes."""
    limits = Limits(request_line=18, headers=20, header_count=2)
    assert 414 == refused(LINE.replace(b"?b", b"?bc") + b"\r\n", limits)
    assert 431 == refused(LINE + b"A: 12345678\r\n\r\n", limits)
    assert 431 == refused(LINE + b"A:\r\nB:\r\n\r\n", limits)
    head, _ = read_head(LINE + b"A: 12\r\n\r\n", limits, "", 0.0)
    assert "12" == head.headers["a"]


def test_a_head_that_is_repeated() -> None:
    """Is the same but for its time; another one, or one that is too long to be kept, is read."""
    last = LastHead()
    short, other, long = (LINE + b"X-A: " + value + b"\r\n\r\n" for value in (b"1", b"2", b"3" * 2000))
    first = last.read(short, Limits(), "p", 1.0, True)
    again = last.read(short, Limits(), "p", 2.0, True)
    assert first[0].headers is again[0].headers
    assert [False, True] == [head.again for head, _ in (first, again)]
    assert not last.read(short, Limits(), "p", 2.0, False)[0].again
    assert (1.0, 2.0, first[1]) == (first[0].received, again[0].received, again[1])
    for block, value in ((long, "3" * 2000), (short, "1"), (other, "2"), (short, "1")):
        assert (value, 3.0) == ((head := last.read(block, Limits(), "p", 3.0, False)[0]).headers["x-a"], head.received)


def test_a_head_that_is_repeated_but_for_its_length() -> None:
    """Came before, too, unless somebody knows it; another one did not, nor one that does not say plainly how long it is."""

    def sized(length: int | str, more: bytes = b"") -> bytes:
        return LINE + more + b"Content-Length: " + str(length).encode() + b"\r\n\r\n"

    last = LastHead()

    def again(block: bytes, new: bool = True) -> bool:
        return last.read(block, Limits(), "p", 1.0, new)[0].again

    assert [False, True, True] == [again(sized(length)) for length in (5, 6, 70)]
    assert not again(sized(8), new=False)
    assert not again(sized(8), new=False)
    assert [False, True] == [again(sized(length, b"X-A: 1\r\n")) for length in (5, 6)]
    assert [False, False, False, True] == [again(block) for block in (LINE + b"\r\n", sized(5), LINE + b"\r\n", LINE + b"\r\n")]
    kept = last.block
    assert [False] * 3 == [again(sized(length, b"X-A: " + b"3" * 2000 + b"\r\n")) for length in (5, 5, 6)]
    assert kept == last.block  # how much is kept for a connection is bounded
