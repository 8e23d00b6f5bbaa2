"""What operators take out of use, one thing after the other."""

from __future__ import annotations

import pytest

from gateway.admin.endpoints import Drained, EndpointState
from gateway.admin.estate import DrainBody, Estate, PurgeBody
from gateway.configuration.load import load_policy
from routing.caching import Purge

A, B, C = ("one", "h:1"), ("one", "h:2"), ("two", "h:1")


@pytest.fixture
def estate() -> Estate:
    """Three endpoints of two backends."""

    async def told() -> list[EndpointState]:
        return [EndpointState(*each, True, False, "closed", 0, 1.0, {}, None) for each in (A, B, C)]

    async def hold(drained: Drained) -> None:
        pass

    async def purge(which: Purge) -> None:
        pass

    return Estate(told, hold, purge)


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


POLICY = b"""
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:1"]}}
models:
  digits:
    cache: {ttl: 1m, tag: vision}
    variants: {fast: {backend: triton, model: f}}
    routes: [{name: all, use: fast}]
  letters:
    variants: {slow: {backend: triton, model: s}}
    routes: [{name: all, use: slow}]
"""


@pytest.mark.parametrize(
    ("which", "unknown"),
    [
        (PurgeBody(), ""),
        (PurgeBody("digits", "fast", "7", "vision"), ""),
        (PurgeBody(variant="slow"), ""),
        (PurgeBody("numbers"), "model numbers"),
        (PurgeBody("digits", "slow"), "variant slow"),
        (PurgeBody("letters", tag="vision"), "tag vision"),
        (PurgeBody(tag="sound"), "tag sound"),
    ],
)
def test_a_purge_that_can_mean_nothing(which: PurgeBody, unknown: str) -> None:
    """What the policy has not is a mistake; which versions there were only the answers know."""
    assert unknown == which.unknown(load_policy(POLICY, "policy.yaml").models)


def test_a_purge_in_words() -> None:
    """As the audit log has it."""
    assert ("all answers", "answers of model digits, version 3") == (str(PurgeBody()), str(PurgeBody("digits", version="3")))
