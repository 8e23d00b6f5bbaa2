"""What can be asked of A/B tests; what they tell is in tests/features/test_experiment.py."""

from __future__ import annotations

from gateway.admin.experiments import experiment_routes


def test_without_anybody_who_keeps_them_there_is_nothing() -> None:
    """A worker's API knows no A/B tests."""
    assert {} == experiment_routes(None)
