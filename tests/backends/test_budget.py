"""How much may be asked once more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backends.budget import Budget


@given(st.floats(0.0, 1.0), st.floats(1.0, 200.0), st.lists(st.booleans(), max_size=400))
def test_never_more_than_the_share(share: float, most: float, asks: list[bool]) -> None:
    """Whatever the order, of n that went well at most share x n + most are asked again."""
    budget, earned, repeated = Budget(share, most), 0, 0
    for again in asks:
        if again:
            repeated += budget.take()
        else:
            budget.earned()
            earned += 1
        assert repeated <= share * earned + most


def test_a_total_outage() -> None:
    """While nothing goes well nothing is asked again, once what was saved up is spent."""
    budget = Budget(0.1, 128.0)
    for _ in range(10_000):
        budget.earned()
    assert 128 == sum(budget.take() for _ in range(10_000))


def test_what_is_saved_up_is_bounded() -> None:
    """Quiet days do not pay for a storm."""
    budget = Budget(0.1, 10.0)
    for _ in range(10_000):
        budget.earned()
    assert 10 == sum(budget.take() for _ in range(100))


def test_a_new_one_may_repeat_a_little() -> None:
    """The first request of the day may be unlucky, too."""
    budget = Budget(0.1, 10.0)
    assert [True, False] == [budget.take(), budget.take()]
