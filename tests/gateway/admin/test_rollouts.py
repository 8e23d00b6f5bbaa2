"""What can be asked of rollouts; what it does is in tests/features/test_rollout.py."""

from __future__ import annotations

from gateway.admin.rollouts import rollout_routes


def test_without_a_leader_there_is_nothing() -> None:
    """A worker's API knows no rollouts."""
    assert {} == rollout_routes(None)
