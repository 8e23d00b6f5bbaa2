"""Paths of the admin API that are about audits; what they answer is in tests/features/test_audit.py."""

from __future__ import annotations

import pytest

from gateway.admin.audits import ALL, ONE, RESUME, audit_route, audit_routes


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/api/audits", ALL),
        ("/api/audits/digits/default", ONE),
        ("/api/audits/digits/default/resume", RESUME),
        ("/api/audits/digits", "/api/audits/digits"),
        ("/api/audits/digits/default/start", "/api/audits/digits/default/start"),
        ("/api/rollouts", "/api/rollouts"),
    ],
)
def test_routes(path: str, route: str) -> None:
    """By model and route; anything else is itself."""
    assert route == audit_route(path)


def test_nobody_judges_here() -> None:
    """Then there is nothing to ask."""
    assert {} == audit_routes(None)
