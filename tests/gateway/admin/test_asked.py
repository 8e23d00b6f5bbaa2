"""What the admin API is asked, and what it refuses with."""

from __future__ import annotations

import pytest

from gateway.admin.asked import ApiError, named


def test_an_error_says_all_of_itself() -> None:
    """Status, message, and what else there is to know."""
    error = ApiError(409, "no", version="v1")
    assert (409, {"error": "no", "version": "v1"}) == (error.status, error.content)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/api/rollouts/digits/live/start", ("digits", "live", "start")),
        ("/api/rollouts/digits/live/explode", None),
        ("/api/rollouts/digits//start", None),
        ("/api/rollouts/digits/live", None),
        ("/api/rollouts/digits/live/start/now", None),
        ("/api/audits/digits/live/start", None),
    ],
)
def test_names_in_a_path(path: str, names: tuple[str, ...] | None) -> None:
    """Where the route has braces; every other path is not the route's."""
    assert names == named("/api/rollouts/{model}/{name}/{start|stop}", path)


def test_a_route_without_names() -> None:
    """Is the path itself."""
    assert () == named("/api/rollouts", "/api/rollouts")
    assert named("/api/rollouts", "/api/rollouts/") is None
