"""Tests of routing.demand: of several limits the one that matters most to whoever asks is told."""

from __future__ import annotations

import pytest

from routing.demand import Demand, Level, Verdict, verdict

DEMANDS = (Demand("a", "requests", 1, 10.0, 20), Demand("b", "concurrency", 1, 0.0, 4), Demand("c", "bytes", 100, 1e3, 1000))


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([Level(0.0, 15, 0.5), Level(0.0, 1, 1.0), Level(0.0, 900, 0.1)], Verdict(None, 0.0, 1, 1.0, 1)),
        ([Level(0.0, 15, 0.5), Level(0.0, 3, 1.0), Level(0.0, 900, 0.1)], Verdict(None, 0.0, 15, 0.5, 0)),
        ([Level(0.2, 0, 2.0), Level(0.0, 0, 1.0), Level(0.3, 90, 0.9)], Verdict(2, 0.3, 90, 0.9, 2)),
        ([Level(0.2, 0, 2.0), Level(1.0, 0, 1.0), Level(0.0, 0, 0.9)], Verdict(1, 1.0, 0, 1.0, 1)),
    ],
)
def test_verdict(levels: list[Level], expected: Verdict) -> None:
    """The one that takes longest of those that refuse, else the one with the smallest share of its units left."""
    assert expected == verdict(DEMANDS, levels)


def test_of_one() -> None:
    """There is nothing to choose."""
    assert Verdict(None, 0.0, 7, 0.4, 0) == verdict(DEMANDS[:1], [Level(0.0, 7, 0.4)])
    assert Verdict(0, 0.1, 0, 2.0, 0) == verdict(DEMANDS[:1], [Level(0.1, 0, 2.0)])


@pytest.mark.parametrize(("parts", "rate", "burst"), [(1, 10.0, 20), (3, 10 / 3, 7), (2.5, 4.0, 8), (40, 0.25, 1)])
def test_a_part(parts: float, rate: float, burst: int) -> None:
    """All parts together hold at least what the bucket does, and no part is without a unit."""
    assert Demand("a", "requests", 1, rate, burst) == DEMANDS[0].part(parts)
