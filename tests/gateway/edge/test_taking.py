"""When a client that does not take its answers is given up."""

from __future__ import annotations

from gateway.edge.limits import Limits
from gateway.edge.taking import Taking

LIMITS = Limits(write_timeout=10.0, body_rate=100)


def test_what_is_told_by_what_was_taken() -> None:
    """The balance of a system that counts that is never above nothing, whatever is written."""
    assert [False, False, True] == stalled((100.0, 0), (109.9, -500), (110.0, -999))
    assert [False, False, True] == stalled((100.0, -5000), (110.0, -6000), (120.0, -6999))


def stalled(*seen: tuple[float, int]) -> list[bool]:
    """What is said at these moments of so many bytes."""
    taking = Taking()
    return [taking.stalls(untaken, now, LIMITS) for now, untaken in seen]


def test_who_stands_still() -> None:
    """Is given up when the time that a write may last is over, and not before."""
    assert [False, False, True] == stalled((100.0, 5000), (109.9, 5000), (110.0, 5000))


def test_who_trickles() -> None:
    """Has to take as much as the rate asks for, over the time since it was last looked at with more."""
    assert [False, True] == stalled((100.0, 5000), (110.0, 4001))
    assert [False, False, True] == stalled((100.0, 5000), (110.0, 4000), (120.0, 3001))


def test_more_that_waits_begins_the_time_anew() -> None:
    """Something was written since."""
    assert [False, False, False, True] == stalled((100.0, 5000), (109.0, 6000), (118.0, 6000), (119.0, 6000))


def test_what_is_begun_is_begun() -> None:
    """Whatever waited before it."""
    taking = Taking()
    assert not taking.stalls(5000, 100.0, LIMITS)
    taking.begin()
    assert [False, False, True] == [taking.stalls(5000, now, LIMITS) for now in (110.0, 119.0, 120.0)]
