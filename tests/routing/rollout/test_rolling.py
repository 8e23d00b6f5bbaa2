"""How a request that has ended is read by each metric."""

from __future__ import annotations

import pytest

from routing.rollout.betting import POINTS, UNMEASURED
from routing.rollout.latency_points import LatencyPoints
from routing.rollout.rolling import Ended, Measure, Outcome, Reader

MEASURES = (Measure("error"), Measure("timeout"), Measure("latency", 1.2), Measure("latency", 1.2, POINTS.index(0.9) + 1))


@pytest.fixture
def points() -> LatencyPoints:
    """Of answers that take 1 to 1000 ms."""
    made = LatencyPoints()
    for number in range(1, 1001):
        made.add(number / 1000)
    made.renew()
    return made


@pytest.mark.parametrize(
    ("outcome", "seconds", "candidate", "expected"),
    [
        ("ok", 0.001, False, [0, 0, 1, 0]),
        ("error", 0.001, True, [1, 0, 1, 0]),
        ("late", 9.0, True, [1, 1, len(POINTS) + 1, 1]),
        ("left", 0.6, False, [0, 0, 3, 0]),
        ("ok", 0.6, True, [0, 0, 2, 0]),
        ("ok", 0.95, False, [0, 0, 5, 1]),
        ("ok", 0.95, True, [0, 0, 4, 0]),  # a fifth slower is tolerated
    ],
)
def test_cells(points: LatencyPoints, outcome: Outcome, seconds: float, candidate: bool, expected: list[int]) -> None:
    """One for each metric, in their order."""
    assert expected == Reader(MEASURES)(points, Ended(outcome, seconds), candidate)


def test_without_points_latency_is_not_measured() -> None:
    """Until enough of the stable side is known."""
    assert [0, 0, UNMEASURED, UNMEASURED] == Reader(MEASURES)(LatencyPoints(), Ended("ok", 1.0), True)
