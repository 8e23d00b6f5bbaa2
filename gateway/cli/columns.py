"""Lays out a table as plain text, for a terminal of any width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def columns(rows: Sequence[Sequence[str]], numbers: bool = False) -> Iterator[str]:
    """A line for each row, its cells as wide as the column; `numbers`: all but the first end at the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = (cell.rjust(width) if numbers else cell.ljust(width) for cell, width in zip(others, widths[1:], strict=True))
        yield "  ".join((first.ljust(widths[0]), *cells)).rstrip()
