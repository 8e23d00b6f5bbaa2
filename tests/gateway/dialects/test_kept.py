"""Cache-Status in the words of RFC 9211."""

from __future__ import annotations

import pytest

from gateway.dialects.kept import cache_headers
from policies.call import Cached


@pytest.mark.parametrize(
    ("cached", "said"),
    [
        (Cached("hit", 59.9), "penstock; hit; ttl=59"),
        (Cached("stale", -0.5), "penstock; hit; ttl=-1"),
        (Cached("stale", -3.0, detail="unavailable"), 'penstock; hit; ttl=-3; detail="unavailable"'),
        (Cached("miss", stored=True), "penstock; fwd=miss; stored"),
        (Cached("miss", collapsed=True), "penstock; fwd=miss; collapsed"),
        (Cached("partial", stored=True, detail="3 of 8 rows"), 'penstock; fwd=partial; stored; detail="3 of 8 rows"'),
        (Cached("request"), "penstock; fwd=request"),
        (Cached("bypass", detail="sequence"), 'penstock; fwd=bypass; detail="sequence"'),
        (Cached("off", detail="no-gain"), 'penstock; fwd=bypass; detail="no-gain"'),
    ],
)
def test_what_a_client_is_told(cached: Cached, said: str) -> None:
    """Either a hit with its time to live or why the question went on, never both."""
    assert (("cache-status", said),) == cache_headers(cached)


def test_without_a_cache_nothing_is_said() -> None:
    """No header at all."""
    assert () == cache_headers(None)
