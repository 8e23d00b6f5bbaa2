"""Moments that only come nearer."""

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


def test_remaining_is_never_negative() -> None:
    """A passed deadline has no time left, not less than none."""
    assert Deadline(5.0).remaining(3.0) == 2.0
    assert Deadline(5.0).remaining(9.0) == 0.0
