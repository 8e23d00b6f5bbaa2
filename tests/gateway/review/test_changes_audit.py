"""What differs between two audits, in words."""

from __future__ import annotations

import pytest

from gateway.configuration.load import load_policy
from gateway.configuration.schema_cascade import Cascade
from gateway.review.changes_audit import audit_changes
from tests.gateway.configuration.test_checks_audit import GOOD, policy


def cascade(audit: str) -> Cascade:
    text = policy(audit) if audit else policy(GOOD).replace(b"          audit: {share: 1%}\n", b"")
    found = load_policy(text, "p").models["digits"].routes[0].cascade
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (GOOD, GOOD, []),
        ("", GOOD, ["its audit: none → 1 % of the kept rows, promise 99 %, report"]),
        (GOOD, "", ["its audit: 1 % of the kept rows, promise 99 %, report → none"]),
        (GOOD, "share: 5%", ["its audit's share: 1 % → 5 %"]),
        (GOOD, f"{GOOD}, on_alarm: dear", ["its audit's on_alarm: report → dear"]),
        (
            GOOD,
            f"{GOOD}, timeout: 1s, budget: 9/m",
            ["its audit's timeout: the route's → 1s", "its audit's budget: none → 9 of cost in 1m"],
        ),
        (GOOD, f"{GOOD}, except: {{tier: u}}", ["its audit's except: nobody spared → tier u"]),
        (GOOD, f"{GOOD}, promise: 98%", ["its audit's promise: 99 % → 98 %", "its audit begins anew, and an alarm ends"]),
        (
            f"{GOOD}, label: l",
            f"{GOOD}, compare: {{l: exact}}",
            [
                "its audit's label: l → none",
                "its audit's compare: none → l exact",
                "its audit begins anew, and an alarm ends",
            ],
        ),
    ],
)
def test_changes(old: str, new: str, said: list[str]) -> None:
    """Key by key, and whether what was seen counts no more."""
    assert said == list(audit_changes(cascade(old), cascade(new)))
