"""What is said of a rollout."""

from __future__ import annotations

from gateway.rollout.report import report
from routing.rollout.betting import Metric
from routing.rollout.rollout import Rollout, Step, Terms, command

TERMS = Terms((Step(0.5, 60.0, 10),), (Metric("error-rate"),))


def test_before_and_after_the_start() -> None:
    """Nothing is judged before there is weight; why it waits is said."""
    rollout = Rollout("digits", "live", "next", TERMS)
    assert ("pending", "", "nobody has started it", 1.0) == tuple(
        getattr(report(rollout), name) for name in ("state", "verdict", "text", "odds")
    )
    warming = command(rollout, "start", "alice", 1.0, "alice said so")
    assert "alice said so" == report(warming).text
    assert "not ready" == report(warming, "not ready").text
    assert ["error-rate"] == [each.metric for each in report(warming).guards]
