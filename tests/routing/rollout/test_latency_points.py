"""The stable side's latency in cells."""

from __future__ import annotations

import pytest

from routing.rollout.betting import POINTS, UNMEASURED
from routing.rollout.latency_points import LEAST, MOST, LatencyPoints


def filled(seconds: list[float]) -> LatencyPoints:
    points = LatencyPoints()
    for each in seconds:
        points.add(each)
    points.renew()
    return points


def test_cells_are_those_of_the_past() -> None:
    """A thousandth of a second for each thousandth of the answers: the 95 % point is 0.95 s, within the bucket's hundredth."""
    points = filled([(index + 1) / 1000 for index in range(1000)])
    for index, point in enumerate(POINTS[:5]):
        assert index + 1 == points.cell(point * 0.98)
        assert index + 2 == points.cell(point * 1.02)
    assert len(POINTS) + 1 == points.cell(9.0)


def test_a_request_does_not_judge_itself() -> None:
    """What is added moves no point before they are renewed."""
    points = filled([0.1] * LEAST)
    cell = points.cell(0.2)
    for _ in range(10 * LEAST):
        points.add(0.2)
    assert cell == points.cell(0.2)
    points.renew()
    assert cell > points.cell(0.2)


def test_without_a_past_there_are_no_cells() -> None:
    """A few answers tell nothing of their slowest hundredth."""
    assert UNMEASURED == LatencyPoints().cell(0.1)
    assert UNMEASURED == filled([0.1] * (LEAST - 1)).cell(0.1)


def test_it_follows_the_day() -> None:
    """When it is full, what is new weighs as much as all that is old, and soon more; what it keeps is bounded."""
    points = LatencyPoints({100: MOST // 2, 101: MOST // 2})  # about 2.7 s
    for _ in range(3):
        for _ in range(MOST // 5):
            points.add(27.0)
        points.renew()
        assert sum(points.counts.values()) <= MOST
    assert [1, 2, len(POINTS) + 1] == [points.cell(2.5), points.cell(26.0), points.cell(28.0)]  # a quarter is old, half is new


def test_it_survives_a_restart() -> None:
    """The counts are all there is to keep."""
    points = filled([(index + 1) / 1000 for index in range(1000)])
    again = LatencyPoints(points.counts)
    assert [points.cell(at / 100) for at in range(1, 120)] == [again.cell(at / 100) for at in range(1, 120)]


@pytest.mark.parametrize("seconds", [1e-9, 1e-4, 3600.0])
def test_any_latency_has_a_cell(seconds: float) -> None:
    """From nothing to an hour."""
    assert 1 <= filled([seconds] * LEAST).cell(seconds) <= len(POINTS) + 1
