"""What the admin API refuses with."""

from __future__ import annotations

from gateway.admin.asked import ApiError


def test_an_error_says_all_of_itself() -> None:
    """Status, message, and what else there is to know."""
    error = ApiError(409, "no", version="v1")
    assert (409, {"error": "no", "version": "v1"}) == (error.status, error.content)
