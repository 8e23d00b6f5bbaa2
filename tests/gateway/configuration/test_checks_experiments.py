"""A/B tests whose parts overlap, that could not be read, or that hold nobody out, are refused."""

from __future__ import annotations

import pytest

from gateway.configuration.load import load_policy
from gateway.configuration.problems import PolicyError
from tests.gateway.configuration.test_checks_rollouts import policy

ONE = (
    "dear: {candidate: next, unit: tenant, proof: person, steps: [{weight: 50%}], guards: [{metric: error-rate}], "
    "group: {name: g, from: 0%, to: 40%}, feedback: [{metric: bought}, {metric: stars, of: told, low: 1, high: 5}]}"
)
OTHER = ONE.replace("dear:", "fast:").replace("next", "idle").replace("from: 0%, to: 40%", "from: 40%, to: 100%")
BOTH = f"{ONE}\n      {OTHER}"
HOLDOUT = b"holdout: {share: 5%, unit: tenant}\n"


def test_taken() -> None:
    """Two rollouts of a group beside each other, with a holdout; a step that a person ends needs neither time nor requests."""
    load_policy(policy(BOTH) + HOLDOUT, "policy.yaml")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("from: 40%", "from: 39%", "0% to 40% of group 'g' are models.digits.rollouts.dear's already (line 18)"),
        ("from: 0%, to: 40%", "from: 40%, to: 40%", "its part of group 'g' is empty"),
        ("unit: tenant", "unit: subject", "has the unit subject, and this tenant"),
        ("weight: 50%", "weight: 100%", "at 100% its candidate would meet the units of the others in group 'g'"),
        ("{metric: bought}", "{metric: bought, low: 1}", "'high' is missing"),
        ("low: 1, high: 5", "low: 5, high: 1", "1 is not above 5"),
        ("low: 1, high: 5", "low: 1, high: 5, labels: {a: 1, b: 2}", "its labels say already"),
        ("low: 1, high: 5", "labels: {a: 1, b: 1}", "all labels stand for the same number"),
        ("metric: stars", "metric: bought", "'bought' is already on line"),
        ("of: told", "of: tlod", "did you mean 'told'?"),
        ("name: g,", "nam: g,", "did you mean 'name'?"),
        ("share: 5%", "share: 0%", "a holdout is above 0% and below 100%"),
        ("share: 5%, unit: tenant", "share: 5%, unit: tenent", "did you mean 'tenant'?"),
    ],
)
def test_refused(old: str, new: str, said: str) -> None:
    """One slip, and one problem (two where the slip makes two) says what to do."""
    text = (policy(BOTH) + HOLDOUT).decode().replace(old, new, 1)
    with pytest.raises(PolicyError) as refused:
        load_policy(text.encode(), "policy.yaml")
    assert any(said in problem.text("policy.yaml") for problem in refused.value.problems), refused.value.problems
    assert len(refused.value.problems) <= 2


def test_a_holdout_without_rollouts() -> None:
    """Holds nobody out of anything."""
    with pytest.raises(PolicyError, match="nothing to be held out of"):
        load_policy(policy("") + HOLDOUT, "policy.yaml")


def test_too_many_metrics() -> None:
    """Nine of one rollout."""
    many = ", ".join(f"{{metric: m{number}}}" for number in range(9))
    with pytest.raises(PolicyError, match="9 metrics are too many"):
        load_policy(
            policy(ONE.replace("{metric: bought}", many).replace(", {metric: stars, of: told, low: 1, high: 5}", "")), "p"
        )
