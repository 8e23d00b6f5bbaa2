"""The sticky weighted choice."""

import math

from hypothesis import given
from hypothesis import strategies as st

from routing.split import choose, place

weights = st.lists(st.floats(0, 100, allow_nan=False), min_size=1, max_size=6).filter(lambda found: sum(found) > 0.001)


@given(st.text(), st.text())
def test_place_is_fixed_and_inside(key: str, unit: str) -> None:
    """A unit's place never changes and lies in [0, 1)."""
    assert place(key, unit) == place(key, unit)
    assert 0 <= place(key, unit) < 1


@given(weights, st.floats(0, 1, exclude_max=True))
def test_choice_has_weight(shares: list[float], at: float) -> None:
    """Nobody is ever sent to a variant of weight zero."""
    assert shares[choose(shares, at)] > 0


@given(st.floats(1, 99), st.floats(0, 50), st.floats(0, 1, exclude_max=True))
def test_nobody_moves_back(candidate: float, more: float, at: float) -> None:
    """When the candidate's weight grows, whoever was on it stays."""
    grown = min(100.0, candidate + more)
    if choose([100 - candidate, candidate], at) == 1:
        assert choose([100 - grown, grown], at) == 1


def test_shares_come_out_as_written() -> None:
    """Over 20 000 tenants a 90:10 split gives 10 % within five standard errors."""
    count = 20_000
    found = sum(choose([90, 10], place("digits/ab", f"tenant-{index}")) for index in range(count))
    assert abs(found / count - 0.1) < 5 * math.sqrt(0.1 * 0.9 / count)


def test_splits_are_independent() -> None:
    """The share that one split sends to its candidate is no other share of another split's."""
    count = 20_000
    both = sum(
        choose([50, 50], place("one", f"u{index}")) and choose([50, 50], place("two", f"u{index}")) for index in range(count)
    )
    assert abs(both / count - 0.25) < 5 * math.sqrt(0.25 * 0.75 / count)
