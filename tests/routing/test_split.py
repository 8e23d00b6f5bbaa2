"""The sticky weighted choice."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.split import drawing, place

NAMES = "abcdef"
WEIGHTS = st.lists(st.floats(0, 100, allow_nan=False), min_size=1, max_size=6).filter(lambda found: max(found) > 0.001)
COUNT = 20_000


def sides(*weights: float) -> list[tuple[str, float]]:
    return list(zip(NAMES, weights, strict=False))


def near(share: float, found: int) -> bool:
    """Whether so many of COUNT units are that share, within five standard errors."""
    return abs(found / COUNT - share) < 5 * math.sqrt(share * (1 - share) / COUNT)


@given(st.text(), st.text())
def test_place_is_fixed_and_inside(key: str, unit: str) -> None:
    """A unit's place never changes and lies between 0 and 1; 0 would have no logarithm."""
    assert place(key, unit) == place(key, unit)
    assert 0 < place(key, unit) <= 1


@given(WEIGHTS, st.text())
def test_choice_has_weight(weights: list[float], unit: str) -> None:
    """Nobody is ever sent to a variant of weight zero."""
    assert weights[drawing("m/r", sides(*weights))(unit)] > 0


@given(WEIGHTS, st.text())
def test_the_order_of_the_sides_moves_nobody(weights: list[float], unit: str) -> None:
    """Who gets which side is a matter of names and weights."""
    written = sides(*weights)
    turned = written[::-1]
    assert written[drawing("m/r", written)(unit)] == turned[drawing("m/r", turned)(unit)]


@given(WEIGHTS, st.integers(0, 5), st.floats(0, 100), st.text())
def test_nobody_moves_back(weights: list[float], grown: int, more: float, unit: str) -> None:
    """When one side's weight grows, by whatever it grows and however many sides there are, a unit stays or goes to that side."""
    grown %= len(weights)
    before = drawing("m/r", sides(*weights))(unit)
    after = drawing("m/r", sides(*[weight + more * (index == grown) for index, weight in enumerate(weights)]))(unit)
    assert after in (before, grown)


@given(st.lists(st.tuples(st.integers(1, 100), st.integers(1, 100)), min_size=2, max_size=6), st.text())
def test_nobody_moves_against_the_weights(pairs: list[tuple[int, int]], unit: str) -> None:
    """When many weights change at once, a unit goes only to a side that grew in relation to its own."""
    old, new = ([pair[index] for pair in pairs] for index in (0, 1))
    source, target = drawing("m/r", sides(*old))(unit), drawing("m/r", sides(*new))(unit)
    assert source == target or new[target] * old[source] > old[target] * new[source]


@pytest.mark.parametrize(
    ("old", "new"),
    [((95, 5), (75, 25)), ((50, 30, 20), (50, 30, 70)), ((40, 30, 20, 10), (40, 30, 20, 110)), ((9, 1), (9, 1, 5))],
)
def test_only_the_share_moves(old: tuple[float, ...], new: tuple[float, ...]) -> None:
    """Over 20 000 tenants as many move as the last side's share grew, all of them to it."""
    first, second = drawing("m/r", sides(*old)), drawing("m/r", sides(*new))
    moves = Counter((first(unit), second(unit)) for unit in map(str, range(COUNT)))
    moved = {move: found for move, found in moves.items() if move[0] != move[1]}
    assert {len(new) - 1} == {target for _, target in moved}
    share = new[-1] / sum(new) - (old[-1] / sum(old) if len(old) == len(new) else 0)
    assert near(share, sum(moved.values()))


@pytest.mark.parametrize("weights", [(90, 10), (1, 1, 2), (0.05, 0.9, 0.05), (5, 0, 3, 2)])
def test_shares_come_out_as_written(weights: tuple[float, ...]) -> None:
    """Over 20 000 tenants every side has its share within five standard errors."""
    draw = drawing("digits/ab", sides(*weights))
    found = Counter(draw(f"tenant-{index}") for index in range(COUNT))
    assert all(near(weight / sum(weights), found[index]) for index, weight in enumerate(weights) if weight)


def test_splits_are_independent() -> None:
    """The share that one split sends to a side is no other share of another split's."""
    one, two = drawing("one", sides(50, 50)), drawing("two", sides(50, 50))
    assert near(0.25, sum(one(str(unit)) and two(str(unit)) for unit in range(COUNT)))
