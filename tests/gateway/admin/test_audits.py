"""What can be asked of audits; what they answer is in tests/features/test_audit.py."""

from __future__ import annotations

from gateway.admin.audits import audit_routes


def test_nobody_judges_here() -> None:
    """Then there is nothing to ask."""
    assert {} == audit_routes(None)
