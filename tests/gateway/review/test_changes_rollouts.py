"""What differs between two policies' rollouts, in words."""

from __future__ import annotations

import pytest

from gateway.configuration.load import load_policy
from gateway.review.changes import changes
from tests.gateway.configuration.test_checks_rollouts import GOOD, policy

AGAIN = "; it begins anew, at no weight until somebody starts it"
SAID = "next for dear by request: 5 % for 1h; guards error-rate; proof time"


@pytest.mark.parametrize(
    ("was", "now", "path", "words"),
    [
        ("", GOOD, "dear", f"{SAID}; it has no weight until somebody starts it"),
        (GOOD, "", "dear", "the rollout of next goes: all of dear is 'dear' again"),
        (GOOD, GOOD.replace("next", "idle"), "dear.candidate", f"next → idle{AGAIN}"),
        (GOOD, GOOD.replace("5%, hold: 1h", "1%, samples: 100"), "dear.steps", f"5 % for 1h → 1 % 100 requests{AGAIN}"),
        (
            GOOD,
            GOOD.replace("error-rate}", "error-rate, max_increase: 1%}"),
            "dear.guards",
            f"error-rate → error-rate +1 %{AGAIN}",
        ),
        (
            GOOD,
            GOOD.replace("error-rate}", "error-rate, max_ratio: 1.5}, {metric: guardrail-rate, output: flag, max_increase: 1%}"),
            "dear.guards",
            f"error-rate → error-rate × 1.5, guardrail-rate of flag +1 %{AGAIN}",
        ),
        (
            GOOD,
            GOOD.replace("proof", "group: {name: g, from: 0%, to: 40%}, proof"),
            "dear.group",
            f"in none → g, 0 % to 40 %{AGAIN}",
        ),
        (
            GOOD.replace("proof", "feedback: [{metric: bought}], proof"),
            GOOD.replace("proof", "feedback: [{metric: stars, of: told, low: 1, high: 5}], proof"),
            "dear.feedback",
            "bought → stars 1 to 5 of those told; the rollout goes on, another metric begins at nothing",
        ),
    ],
)
def test_one_change(was: str, now: str, path: str, words: str) -> None:
    """Where, and what it is."""
    documents = (load_policy(policy(each), "p") for each in (was, now))
    assert [(f"models.digits.rollouts.{path}", words)] == list(map(tuple, changes(*documents)))


@pytest.mark.parametrize(
    ("was", "now", "words"),
    [
        ("", "holdout: {share: 5%}", "5 % by tenant meet no candidate of any rollout any more; all rollouts go on"),
        ("holdout: {share: 5%}", "", "nobody is held out of rollouts any more, which 5 % by tenant were"),
        (
            "holdout: {share: 5%}",
            "holdout: {share: 10%, unit: subject}",
            "5 % by tenant → 10 % by subject: so many meet no candidate; all rollouts go on",
        ),
    ],
)
def test_the_holdout(was: str, now: str, words: str) -> None:
    """Is no part of any rollout, which goes on."""
    documents = (load_policy(policy(GOOD) + each.encode() + b"\n", "p") for each in (was, now))
    assert [("holdout", words)] == list(map(tuple, changes(*documents)))
