"""The quantile of the latest answers."""

from __future__ import annotations

from backends.latency import EVERY, KEPT, Latency


def test_unknown_at_first() -> None:
    """A few answers are no distribution."""
    latency = Latency(0.95)
    for _ in range(EVERY - 1):
        latency.took(1.0)
    assert latency.quantile is None
    latency.took(1.0)
    assert 1.0 == latency.quantile


def test_the_quantile() -> None:
    """Of a hundred different times the 95th is the one that 95 of them keep."""
    latency = Latency(0.95)
    for number in range(KEPT):
        latency.took(float(number))
    assert latency.quantile is not None
    assert 0.94 * KEPT < latency.quantile < 0.96 * KEPT


def test_only_the_latest_count() -> None:
    """A model that has become slower is known to be slow after a few answers."""
    latency = Latency(0.5)
    for seconds in (1.0, 3.0):
        for _ in range(KEPT):
            latency.took(seconds)
    assert 3.0 == latency.quantile
