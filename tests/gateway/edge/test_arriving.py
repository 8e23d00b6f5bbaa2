"""Bodies on their way: where they end, and how fast they come."""

from __future__ import annotations

import pytest

from gateway.edge.arriving import Arriving
from gateway.edge.gate import CHUNKED, RefusedError
from gateway.edge.limits import Limits
from gateway.edge.messages import HttpResponse

LIMITS = Limits(body=100, unread=10, body_rate=8)


def admitted(body: bytes) -> HttpResponse:
    return HttpResponse(200, body=body)


def test_what_lies_behind_it() -> None:
    """Is the next request's."""
    body = Arriving(5, admitted, LIMITS)
    assert body.take(b"abc") is None
    assert b"GET" == body.take(b"deGET")
    assert b"abcde" == body.whole()


@pytest.mark.parametrize(("who", "most"), [(admitted, 100), (None, 10)])
def test_how_long_a_chunked_one_may_be(who: object, most: int) -> None:
    """Less, where it is thrown away."""
    assert b"" == Arriving(CHUNKED, who, LIMITS).take(b"%x\r\n%s\r\n0\r\n\r\n" % (most, b"x" * most))  # type: ignore[arg-type]
    with pytest.raises(RefusedError) as caught:
        Arriving(CHUNKED, who, LIMITS).take(b"%x\r\n" % (most + 1))  # type: ignore[arg-type]
    assert 413 == caught.value.status


def test_each_window_has_its_own_rate() -> None:
    """Who came fast at first is slow all the same, once nothing more comes."""
    body = Arriving(100, admitted, LIMITS)
    body.take(b"x" * 40)
    assert not body.slow(5.0)
    body.take(b"x" * 39)
    assert body.slow(5.0)
    assert body.slow(0.1)
