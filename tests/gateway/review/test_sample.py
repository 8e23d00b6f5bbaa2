"""A written request as the serving code takes it."""

from __future__ import annotations

import pytest

from backends.errors import InferenceError
from gateway.configuration.schema_tests import Caller, Sample
from gateway.review.sample import headers_of, inquiry_of, principal_of, request_of
from routing.principal import Principal


def test_headers_are_as_the_edge_hands_them_on() -> None:
    """Lower-case names; id and priority stand where a client would put them, unless its headers say otherwise."""
    sample = Sample("digits", headers={"X-A": "1"}, priority=3, request_id="r7")
    assert {"x-a": "1", "x-priority": "3", "x-request-id": "r7"} == headers_of(sample)
    assert {"x-priority": "5"} == headers_of(Sample("digits", headers={"X-Priority": "5"}, priority=3))


def test_the_inquiry_has_caller_id_and_time() -> None:
    """An id that no client may give is none."""
    sample = Sample(
        "digits", Caller("ann", "acme", "gold", ("a", "b")), headers={"x-request-timeout-ms": "1500"}, request_id="r7"
    )
    inquiry = inquiry_of(sample)
    assert Principal("ann", "acme", "gold", frozenset({"a", "b"})) == inquiry.principal == principal_of(sample)
    assert ("r7", 1.5) == (inquiry.request_id, inquiry.timeout)
    assert "" == inquiry_of(Sample("digits", request_id="not sane!")).request_id


@pytest.mark.parametrize("rows", [None, 1, 7])
def test_rows_are_those_said(rows: int | None) -> None:
    """None where the inputs share no first dimension."""
    assert rows == request_of(Sample("digits", rows=rows)).rows


def test_the_version_is_said_once() -> None:
    """In the request or in its header, and not two."""
    assert "2" == request_of(Sample("digits", headers={"X-Model-Version": "2"})).version
    assert "2" == request_of(Sample("digits", version="2")).version
    with pytest.raises(InferenceError, match="give one of them"):
        request_of(Sample("digits", version="1", headers={"X-Model-Version": "2"}))


def test_a_timeout_that_is_none_is_refused() -> None:
    """As at the front."""
    with pytest.raises(InferenceError, match="milliseconds"):
        inquiry_of(Sample("digits", headers={"x-request-timeout-ms": "soon"}))
