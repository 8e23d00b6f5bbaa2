"""The metrics of audits."""

from __future__ import annotations

from gateway.telemetry.audits import AuditCounts, AuditNumbers
from routing.shadow.excess import Interval

KEY = ("digits", "default")
LABELS = 'model="digits",route="default"'


def test_counts() -> None:
    """By outcome; cost adds up."""
    counts = AuditCounts()
    counts.told(*KEY, "same")
    counts.told(*KEY, "same")
    counts.paid(*KEY, 40.0)
    counts.paid(*KEY, 2.5)
    lines = [line for family in counts.families() for line in family.lines()]
    assert f'penstock_audit_total{{{LABELS},outcome="same"}} 2' in lines
    assert f"penstock_audit_cost_total{{{LABELS}}} 42.5" in lines


def test_how_it_stands() -> None:
    """The rate between its bounds, the promise, the alarm; what has gone is told no more."""
    numbers = AuditNumbers()
    numbers.stands(KEY, Interval(0.5, 0.25, 0.75), 0.01, "alarm")
    lines = [line for family in numbers.families() for line in family.lines()]
    assert [f'penstock_audit_rate{{{LABELS},bound="{each}"}} {value}' for each, value in (("estimate", 0.5), ("low", 0.25))] == [
        each for each in lines if "rate{" in each and ("estimate" in each or "low" in each)
    ]
    assert {f"penstock_audit_alarm{{{LABELS}}} 1", f"penstock_audit_fallen{{{LABELS}}} 0"} < set(lines)
    numbers.clear()
    assert not [line for family in numbers.families() for line in family.lines() if "digits" in line]
