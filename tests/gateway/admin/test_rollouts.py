"""Which paths are about rollouts; what they do is in tests/features/test_rollout.py."""

from __future__ import annotations

import pytest

from gateway.admin.rollouts import ALL, DONE, ONE, rollout_route, routes


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/api/rollouts", ALL),
        ("/api/rollouts/digits/live", ONE),
        ("/api/rollouts/digits/live/start", DONE),
        ("/api/rollouts/digits/live/explode", "/api/rollouts/digits/live/explode"),
        ("/api/rollouts/digits", "/api/rollouts/digits"),
        ("/api/policy", "/api/policy"),
    ],
)
def test_paths(path: str, route: str) -> None:
    """One of all, one rollout, what is done to one; anything else is its own."""
    assert route == rollout_route(path)


def test_without_a_leader_there_is_nothing() -> None:
    """A worker's API knows no rollouts."""
    assert {} == routes(None)
