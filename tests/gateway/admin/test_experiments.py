"""Which paths are about A/B tests; what they tell is in tests/features/test_experiment.py."""

from __future__ import annotations

import pytest

from gateway.admin.experiments import ALL, ONE, experiment_route, experiment_routes


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/api/experiments", ALL),
        ("/api/experiments/digits/live", ONE),
        ("/api/experiments/digits", "/api/experiments/digits"),
        ("/api/experiments/digits/live/start", "/api/experiments/digits/live/start"),
        ("/api/policy", "/api/policy"),
    ],
)
def test_paths(path: str, route: str) -> None:
    """All of them, one; anything else is its own."""
    assert route == experiment_route(path)


def test_without_anybody_who_keeps_them_there_is_nothing() -> None:
    """A worker's API knows no A/B tests."""
    assert {} == experiment_routes(None)
