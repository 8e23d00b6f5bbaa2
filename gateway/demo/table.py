"""Prints what was seen in aligned columns that fit a terminal, one line as soon as it is known."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from gateway.demo.comparison import Measured

WIDTH = 98
TITLE = 17  # columns of a feature's name
_MARGIN = "  "


def heading(variants: Sequence[str]) -> str:
    """The comparison's column names, two lines."""
    above = f"{'':16}{'':>10}{'cost per':>11}   {'rows answered by':{_answered(variants)}}{'latency':>18}"
    names = "".join(f"{variant:>{_wide(variant)}}" for variant in variants)
    below = f"{'':16}{'accuracy':>10}{'1000 rows':>11}   {names}{'p50':>9}{'p99':>9}"
    return "\n".join(_MARGIN + line.rstrip() for line in (above, below))


def comparison(line: Measured, variants: Sequence[str]) -> str:
    """One way of asking and what it took."""
    rows = "".join(f"{line.rows.get(variant, 0) or '-':>{_wide(variant)}}" for variant in variants)
    times = "".join(f"{seconds * 1000:>6.1f} ms" for seconds in (line.p50, line.p99))
    return f"{_MARGIN}{line.name:16}{line.accuracy:>10.1%}{number(line.cost_per_1000):>11}   {rows}{times}"


def feature(name: str, seen: str) -> str:
    """One feature and what it did, wrapped under itself."""
    start = f"{_MARGIN}ok  {name:{TITLE}} "
    return textwrap.fill(seen, WIDTH, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False)


def number(value: float) -> str:
    """A whole number with spaces between its thousands."""
    return f"{value:,.0f}".replace(",", " ")


def _wide(variant: str) -> int:
    return max(8, len(variant) + 2)


def _answered(variants: Sequence[str]) -> int:
    return sum(map(_wide, variants))
