"""What operators take out of use, one thing after the other."""

from __future__ import annotations

import pytest

from gateway.admin.estate import DrainBody, Estate
from gateway.endpoints import Drained, EndpointState

A, B, C = ("one", "h:1"), ("one", "h:2"), ("two", "h:1")


@pytest.fixture
def estate() -> Estate:
    """Three endpoints of two backends."""

    async def told() -> list[EndpointState]:
        return [EndpointState(*each, True, False, "closed", 0, 1.0, {}, None) for each in (A, B, C)]

    async def hold(drained: Drained) -> None:
        pass

    return Estate(told, hold)


async def test_each_wish_adds_to_those_before(estate: Estate) -> None:
    """Until it is taken back, whole or in parts."""
    seen = []
    for wish in (
        DrainBody("two", "h:1"),
        DrainBody("one"),
        DrainBody("one", "h:2", drained=False),
        DrainBody(),
        DrainBody("two", drained=False),
    ):
        assert await estate.drain(wish)
        seen.append(estate.drained)
    assert [
        Drained(False, frozenset({C})),
        Drained(False, frozenset({A, B, C})),
        Drained(False, frozenset({A, C})),
        Drained(True, frozenset({A, C})),
        Drained(True, frozenset({A})),
    ] == seen


async def test_what_is_not_there_changes_nothing(estate: Estate) -> None:
    """A backend or an endpoint of another one."""
    assert not await estate.drain(DrainBody("three"))
    assert not await estate.drain(DrainBody("two", "h:2"))
    assert Drained() == estate.drained


async def test_what_is_shown(estate: Estate) -> None:
    """All, or what a wish is about, or the gateway alone."""
    shown = [await estate.shown(wish) for wish in (None, DrainBody("one"), DrainBody("one", "h:2"), DrainBody())]
    assert [3, 2, 1, 0] == [len(each["endpoints"]) for each in shown]
