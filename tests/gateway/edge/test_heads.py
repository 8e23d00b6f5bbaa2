"""Heads that somebody knows: found by all their bytes, or by all but the length of the body, and forgotten when nobody does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pytest

from gateway.edge import heads
from gateway.edge.gate import CHUNKED, Framing
from gateway.edge.head import unsized
from gateway.edge.heads import Heads
from gateway.edge.messages import Alike

PLAIN = Framing(5, True, False, True)
MOST = 123_456  # bytes of a body


@dataclass
class Known:
    """Says what it is told to."""

    sized: bool = True
    still: bool = True

    def current(self) -> bool:
        return self.still


def known(sized: bool = True, still: bool = True) -> Alike:
    return cast(Alike, Known(sized, still))


def block(length: int | str, more: str = "") -> bytes:
    return f"POST /a HTTP/1.1\r\nHost: h\r\n{more}Content-Length: {length}\r\n\r\n".encode()


def test_a_sized_one_is_found_by_all_its_bytes() -> None:
    """No other length, no other header."""
    found, alike = Heads(MOST), known()
    found.keep(block(5), PLAIN, alike)
    assert (PLAIN, alike) == found.find(block(5))
    for other in (block(6), block(5, "X: 1\r\n"), block("05")):
        assert found.find(other) is None
        assert not found.knows(other)


def test_another_is_found_whatever_the_length_is() -> None:
    """Which is the framing's then."""
    found, alike = Heads(MOST), known(sized=False)
    found.keep(block(5), PLAIN, alike)
    for length in (5, 0, MOST):
        assert (PLAIN._replace(length=length), alike) == found.find(block(length))
    for other in (block(5, "X: 1\r\n"), block(5, "Content-Length: 5\r\n"), block("5 "), block("+5"), block("1" * 16)):
        assert found.find(other) is None


def test_no_body_is_longer_than_bodies_may_be() -> None:
    """However often such a head was answered with a shorter one: it is refused where it is read."""
    found = Heads(MOST)
    found.keep(block(5), PLAIN, known(sized=False))
    assert (None, False) == (found.find(block(MOST + 1)), found.knows(block(MOST + 1)))
    assert found.knows(block(MOST))


@pytest.mark.parametrize("sized", [True, False])
def test_a_whole_request_is_known_by_its_head(sized: bool) -> None:
    """Whatever came before it on its connection."""
    found, one, other = Heads(MOST), known(sized), known(sized)
    found.keep(block(5), PLAIN, one)
    found.keep(block(5, "X: 1\r\n"), PLAIN, other)
    last = found.whole(block(5) + b"abcde", None)
    assert (block(5), PLAIN, one) == last
    for before in (None, last):
        assert last == found.whole(block(5) + b"vwxyz", before)
        assert (block(5, "X: 1\r\n"), PLAIN, other) == found.whole(block(5, "X: 1\r\n") + b"abcde", before)
        for asked in (
            block(5),
            block(5) + b"abcd",
            block(5) + b"abcdef",
            block(5)[:-1],
            block(5)[:-2] + b"X: 1\r\n\r\nabcde",
            b"",
        ):
            assert found.whole(asked, before) is None


@pytest.mark.parametrize(("sized", "length"), [(True, 5), (True, "5 "), (False, 5)])
def test_who_answers_no_more_is_forgotten(sized: bool, length: int | str) -> None:
    """At the next look, however its length is written."""
    found, alike = Heads(MOST), Known(sized)
    found.keep(block(length), PLAIN, cast(Alike, alike))
    assert found.knows(block(length))
    alike.still = False
    assert found.find(block(length)) is not None
    assert not found.knows(block(length))
    alike.still = True
    assert found.find(block(length)) is None


@pytest.mark.parametrize(
    "framing",
    [
        *(PLAIN._replace(keep=False), PLAIN._replace(modern=False), PLAIN._replace(expects=True)),
        *(PLAIN._replace(length=CHUNKED), PLAIN._replace(length=0)),
    ],
)
def test_what_has_more_to_it_is_not_kept(framing: Framing) -> None:
    """The last request of a connection, HTTP/1.0, who waits for 100, chunks; and what has no body."""
    found = Heads(MOST)
    found.keep(block(5), framing, known())
    assert found.find(block(5)) is None


def test_questions_for_a_head_alone_are_not_kept() -> None:
    """Their answer has no body."""
    found, asked = Heads(MOST), block(5).replace(b"POST", b"HEAD")
    found.keep(asked, PLAIN, known())
    assert found.find(asked) is None


def test_what_is_too_long_or_has_no_length_is_not_kept() -> None:
    """An empty block stands for a head that was not kept."""
    found = Heads(MOST)
    found.keep(b"", PLAIN, known())
    found.keep(b"POST /a HTTP/1.1\r\n\r\n", PLAIN, known(sized=False))
    assert (None, None) == (found.find(b""), found.find(b"POST /a HTTP/1.1\r\n\r\n"))


@pytest.mark.parametrize("sized", [True, False])
def test_there_is_an_end_to_them(sized: bool) -> None:
    """Clients may invent heads without end."""
    found = Heads(MOST)
    for number in range(heads.MOST + 1):
        found.keep(block(5, f"X: {number}\r\n"), PLAIN, known(sized))
    assert found.find(block(5, "X: 0\r\n")) is None
    assert found.find(block(5, f"X: {heads.MOST}\r\n")) is not None


def test_lengths_are_cut_out_where_they_are_plain() -> None:
    """And only the header's own."""
    assert (b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: \r\n\r\n", 17) == unsized(block(17))
    assert (block("", "Inference-Header-Content-Length: 9\r\n"), 17) == unsized(
        block(17, "Inference-Header-Content-Length: 9\r\n")
    )
    assert unsized(block("0x5")) is None
    assert (block("").replace(b"Content-Length", b"content-length"), 3) == unsized(
        block(3).replace(b"Content-Length", b"content-length")
    )
