"""Names of requests."""

from __future__ import annotations

from gateway.ids import Ids


def test_no_name_comes_twice() -> None:
    """Nor do two processes give the same."""
    one, other = Ids(), Ids()
    made = [each() for each in (one, other) for _ in range(100)]
    assert 200 == len({*made})
