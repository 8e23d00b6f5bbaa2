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
    ],
)
def test_one_change(was: str, now: str, path: str, words: str) -> None:
    """Where, and what it is."""
    documents = (load_policy(policy(each), "p") for each in (was, now))
    assert [(f"models.digits.rollouts.{path}", words)] == list(map(tuple, changes(*documents)))
