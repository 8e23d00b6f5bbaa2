"""Names of requests."""

from __future__ import annotations

from gateway.ids import request_ids


def test_no_name_comes_twice() -> None:
    """Nor do two processes give the same."""
    one, other = request_ids(), request_ids()
    made = [each() for each in (one, other) for _ in range(100)]
    assert 200 == len({*made})
