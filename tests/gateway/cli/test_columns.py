"""Tables as plain text."""

from __future__ import annotations

from gateway.cli.columns import columns

ROWS = [["", "cost"], ["digits", "1"], ["x", "40"]]


def test_words_begin_at_the_left() -> None:
    """Each column is as wide as its widest cell; no line ends in blanks."""
    assert ["        cost", "digits  1", "x       40"] == list(columns(ROWS))


def test_numbers_end_at_the_right() -> None:
    """All but the first column, which has the names."""
    assert ["        cost", "digits     1", "x         40"] == list(columns(ROWS, numbers=True))


def test_nothing() -> None:
    """No rows are no lines."""
    assert [] == list(columns([]))
