"""Tests of gateway.configuration.schema_limits: the values only limits have."""

from __future__ import annotations

import pytest

from gateway.configuration.problems import UnreadableError
from gateway.configuration.schema_limits import Limit, LimitMatch, limit_name, read_per
from gateway.configuration.schema_policy import Match


def test_per() -> None:
    """One word of four."""
    assert ["tenant", "subject", "tier", "model"] == [read_per(each) for each in ("tenant", "subject", "tier", "model")]


@pytest.mark.parametrize(
    ("value", "meant"), [("tenants", "tenant"), (["tenant"], None), ("header:x", None), (None, None), (3, None)]
)
def test_not_per(value: object, meant: str | None) -> None:
    """Nothing else has buckets, and never two at once."""
    with pytest.raises(UnreadableError) as refused:
        read_per(value)
    assert meant == refused.value.suggestion


def test_names() -> None:
    """A limit's own, or its place."""
    assert ["free", "limit-3"] == [limit_name(Limit("free"), 2), limit_name(Limit(), 2)]


def test_whatever_a_route_may_match_is_possible_or_refused_with_its_reason() -> None:
    """Of a route's conditions a limit knows those that are verified; of each of the others it says why not."""
    routes = {"not" if each == "never" else each for each in Match.__struct_fields__}
    assert routes <= set(LimitMatch.__struct_fields__) | set(LimitMatch.NEVER)
    assert not set(LimitMatch.__struct_fields__) & set(LimitMatch.NEVER)
