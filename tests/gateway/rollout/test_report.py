"""What is said of a rollout."""

from __future__ import annotations

from gateway.rollout.file import Kept
from gateway.rollout.led import Led
from gateway.rollout.report import report
from routing.rollout.betting import Metric
from routing.rollout.rollout import Rollout, Step, Terms, command

TERMS = Terms((Step(0.5, 60.0, 10),), (Metric("error-rate"),))


def test_before_and_after_the_start() -> None:
    """Nothing is judged before there is weight; why it waits is said."""
    led = Led(Kept("", Rollout("digits", "live", "next", TERMS)))
    assert ("pending", "", "nobody has started it", 1.0) == tuple(
        getattr(report(led), name) for name in ("state", "verdict", "text", "odds")
    )
    led.rollout = command(led.rollout, "start", "alice", 1.0, "alice said so")
    assert "alice said so" == report(led).text
    led.waits = "not ready"
    assert "not ready" == report(led).text
    assert ["error-rate"] == [each.metric for each in report(led).guards]
