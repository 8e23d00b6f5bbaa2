"""How much may be asked once more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backends.budget import Budget


@given(st.floats(0.0, 1.0), st.floats(1.0, 200.0), st.lists(st.booleans(), max_size=400))
def test_never_more_than_the_share(share: float, most: float, asks: list[bool]) -> None:
    """Whatever the order, of n questions at most share x n + most are asked again."""
    budget, offered, repeated = Budget(share, most), 0, 0
    for again in asks:
        if again:
            repeated += budget.take()
        else:
            budget.offered()
            offered += 1
        assert repeated <= share * offered + most


def test_a_total_outage() -> None:
    """When every question fails, attempts are 1.10 times the questions."""
    budget = Budget(0.1, 10.0)
    attempts = 0
    for _ in range(10_000):
        budget.offered()
        attempts += 1 + budget.take()
    assert 10_950 < attempts <= 11_001


def test_what_is_saved_up_is_bounded() -> None:
    """Quiet days do not pay for a storm."""
    budget = Budget(0.1, 10.0)
    for _ in range(10_000):
        budget.offered()
    assert 10 == sum(budget.take() for _ in range(100))


def test_a_new_one_may_repeat_a_little() -> None:
    """The first request of the day may be unlucky, too."""
    budget = Budget(0.1, 10.0)
    assert [True, False] == [budget.take(), budget.take()]
