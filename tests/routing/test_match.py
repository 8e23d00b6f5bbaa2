"""Ranges of whole numbers, as matches have them."""

from __future__ import annotations

import pytest

from routing.match import Range


@pytest.mark.parametrize(
    ("inside", "outside", "range_"),
    [((4,), (3, 5), Range(4, 4)), ((1, 8), (0, 9), Range(1, 8)), ((16, 10**9), (15,), Range(16)), ((0,), (-1,), Range(0))],
)
def test_both_ends_are_inside(inside: tuple[int, ...], outside: tuple[int, ...], range_: Range) -> None:
    """And without a high end there is none."""
    assert all(map(range_.holds, inside))
    assert not any(map(range_.holds, outside))


@pytest.mark.parametrize(
    ("range_", "text"),
    [(Range(4, 4), "4"), (Range(1, 8), "1..8"), (Range(16), "16.."), (Range(0, 8), "0..8"), (Range(0, 0), "0")],
)
def test_as_the_document_writes_it(range_: Range, text: str) -> None:
    """A range is said in the document's own words."""
    assert text == range_.text()
