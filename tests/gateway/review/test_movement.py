"""Who moves when a split's weights change."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.review.movement import movement
from routing.split import drawing

weights = st.dictionaries(st.sampled_from("abcd"), st.floats(0, 10), min_size=1).filter(lambda found: any(found.values()))


def test_a_side_that_grows_takes_from_the_others() -> None:
    """In a split of two, as much as it grows."""
    assert {("a", "b"): pytest.approx(0.1)} == movement({"a": 90, "b": 10}, {"a": 80, "b": 20})
    assert {("a", "b"): pytest.approx(0.05)} == movement({"a": 1}, {"a": 95, "b": 5})
    assert {("a", "b"): pytest.approx(1.0)} == movement({"a": 1}, {"b": 3})
    assert {} == movement({"a": 1, "b": 2}, {"b": 4, "a": 2})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 2, "c": 4}),
        ({"a": 5, "b": 3, "c": 0}, {"a": 0, "b": 1, "c": 1}),
        ({"a": 1, "b": 2, "c": 3, "d": 4}, {"a": 4, "b": 3, "c": 2, "d": 1}),
    ],
)
def test_it_is_what_the_draw_does(old: dict[str, float], new: dict[str, float]) -> None:
    """Held against 20 000 units, dealt by the serving code."""
    names, count = sorted(old), 20_000
    before, after = (drawing("key", [(name, weights[name]) for name in names]) for weights in (old, new))
    seen = Counter((names[before(str(unit))], names[after(str(unit))]) for unit in range(count))
    told = movement(old, new)
    assert set(told) == {pair for pair in seen if pair[0] != pair[1]}
    for pair, share in told.items():
        assert abs(share - seen[pair] / count) < 4 * (share / count) ** 0.5


@given(weights, weights)
@example({"a": 1.0, "b": 1.0}, {"a": 5.0, "b": 4.641142022204872e-308})
@example({"a": 0.0, "c": 1.0}, {"a": 1.0, "b": 8.0, "c": 4.641142022204872e-308})
@example({"a": 5e-324, "c": 1.0}, {"a": 1.0, "b": 8.0, "c": 5e-324})
def test_the_shares_add_up(old: dict[str, float], new: dict[str, float]) -> None:
    """What a side has afterwards is what it had, less what left, and what came."""
    flows = movement(old, new)
    for name in {*old, *new}:
        left = sum(share for (source, _), share in flows.items() if source == name)
        came = sum(share for (_, target), share in flows.items() if target == name)
        was, now = old.get(name, 0) / sum(old.values()), new.get(name, 0) / sum(new.values())
        assert now == pytest.approx(was - left + came, abs=1e-9)
