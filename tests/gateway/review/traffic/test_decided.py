"""How requests were and would be treated."""

from __future__ import annotations

from gateway.review.traffic.decided import Recorded
from gateway.review.traffic.forecast import Forecast
from tests.gateway.review.recorded import gold, sample, treatment


def test_what_was_recorded_is_told_as_a_policy_is() -> None:
    """Route and who answers; a refusal by its reason; the cost as it was."""
    was, policy = Recorded(), treatment()
    for each in (sample(), gold()):
        assert was.decided(each)[:3] == policy.decided(each)[:3]
        assert was.forecast(each, was.decided(each)).low == policy.forecast(each, policy.decided(each)).low
    refused = sample(route="", stages=(), reason="version", cost=0.0, asks=(), version="3")
    assert ("", "refused (version)", "version", None) == was.decided(refused) == policy.decided(refused)
    assert Forecast(0.0, 0.0, ()) == policy.forecast(refused, policy.decided(refused))


def test_plans_are_known_again() -> None:
    """The facts of a plan are made once; a version asked for makes a plan of its own, which is not kept."""
    policy = treatment()
    assert policy.decided(sample()).facts is policy.decided(sample(request_id="q")).facts
    asked = gold(version="3")
    assert policy.decided(asked).facts is not policy.decided(asked).facts
    assert 1 == len(policy._facts)
