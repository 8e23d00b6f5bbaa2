"""What operators take out of use, one thing after the other."""

from __future__ import annotations

import random

import pytest

from backends.balance import Balance
from backends.cluster import Cluster
from backends.endpoint import Endpoint
from backends.rules import Rules
from gateway.admin.drains import DrainBody, Drained, Drains
from gateway.admin.endpoints import EndpointState

A, B, C = ("one", "h:1"), ("one", "h:2"), ("two", "h:1")


@pytest.fixture
def drains() -> Drains:
    """Three endpoints of two backends."""

    async def told() -> list[EndpointState]:
        return [EndpointState(*each, True, False, "closed", 0, 1.0, {}, None) for each in (A, B, C)]

    async def hold(drained: Drained) -> None:
        pass

    return Drains(told, hold)


async def test_each_wish_adds_to_those_before(drains: Drains) -> None:
    """Until it is taken back, whole or in parts."""
    seen = []
    for wish in (
        DrainBody("two", "h:1"),
        DrainBody("one"),
        DrainBody("one", "h:2", drained=False),
        DrainBody(),
        DrainBody("two", drained=False),
    ):
        assert await drains.drain(wish)
        seen.append(drains.drained)
    assert [
        Drained(False, frozenset({C})),
        Drained(False, frozenset({A, B, C})),
        Drained(False, frozenset({A, C})),
        Drained(True, frozenset({A, C})),
        Drained(True, frozenset({A})),
    ] == seen


async def test_what_is_not_there_changes_nothing(drains: Drains) -> None:
    """A backend or an endpoint of another one."""
    assert not await drains.drain(DrainBody("three"))
    assert not await drains.drain(DrainBody("two", "h:2"))
    assert Drained() == drains.drained


async def test_what_is_shown(drains: Drains) -> None:
    """All, or what a wish is about, or the gateway alone."""
    shown = [await drains.shown(wish) for wish in (None, DrainBody("one"), DrainBody("one", "h:2"), DrainBody())]
    assert [3, 2, 1, 0] == [len(each["endpoints"]) for each in shown]


def cluster(name: str, *addresses: str) -> Cluster:
    """Endpoints that nobody asks."""
    endpoints = [Endpoint(address, None) for address in addresses]  # type: ignore[arg-type]
    return Cluster(name, endpoints, Balance("round-robin", random.random), Rules(), lambda *_: None)


def test_what_is_drained_is_so_in_every_cluster() -> None:
    """By its name and address; what is wanted again is used."""
    clusters = {"a": cluster("a", "h:1", "h:2"), "b": cluster("b", "h:1")}
    Drained(False, frozenset({("a", "h:2"), ("b", "h:9")})).apply(clusters)
    assert [False, True, False] == [each.drained for made in clusters.values() for each in made.endpoints]
    Drained().apply(clusters)
    assert {False} == {each.drained for made in clusters.values() for each in made.endpoints}
