"""Moments that only come nearer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.deadline import Deadline

moments = st.floats(0, 1e6)


@given(moments, moments, moments)
def test_only_shrinks(at: float, timeout: float, now: float) -> None:
    """Handing a deadline down never gives more time."""
    deadline = Deadline(at)
    assert deadline.less(timeout).at <= at
    assert deadline.within(timeout, now).at <= at
    assert deadline.hop(now).at <= at


def test_a_hop_leaves_time_for_the_way_back() -> None:
    """10 ms, or a tenth of a short time; a deadline that has passed stays where it is."""
    assert [9.99, 0.045, 5.0] == pytest.approx([Deadline(10.0).hop(0).at, Deadline(0.05).hop(0).at, Deadline(5.0).hop(9.0).at])


def test_remaining_is_never_negative() -> None:
    """A passed deadline has no time left, not less than none."""
    assert Deadline(5.0).remaining(3.0) == 2.0
    assert Deadline(5.0).remaining(9.0) == 0.0
