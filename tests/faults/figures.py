"""What the fault tests measured next to the bar each must keep; `make faults` prints them all as one table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

LONG = os.environ.get("FAULTS") == "long"  # `make faults`: the counts and times that the bars are stated for
SLACK = 1.0 if LONG else 5.0  # CI's short form runs beside others on few cores: its times say less, its counts as much
PROPERTY = "figure"  # under which a test's report carries it


class Figure(NamedTuple):
    """One measured value. `kept`: whether it is on the right side of its bar."""

    part: str
    what: str
    seen: str
    bar: str
    kept: bool


class LateError(AssertionError):
    """A time's bar is missed: by the gateway, or by a machine that others used; so in CI it is measured again."""


class Figures:
    """Collects what one test measured in `found`, and fails it where a bar is missed."""

    def __init__(self, found: list[tuple[str, object]]) -> None:
        self._found = found

    def none_of(self, part: str, what: str, seen: int, of: int) -> None:
        """Of so many, none may."""
        self._add(Figure(part, what, f"{seen} of {of}", "0", seen == 0))

    def at_most(self, part: str, what: str, seen: float, bar: float, unit: str = "") -> None:
        """A count or a ratio: as strict in CI as in `make faults`."""
        self._add(Figure(part, what, _written(seen, unit), f"≤ {_written(bar, unit)}", seen <= bar))

    def at_least(self, part: str, what: str, seen: float, bar: float, unit: str = "") -> None:
        """A count or a ratio, from below."""
        self._add(Figure(part, what, _written(seen, unit), f"≥ {_written(bar, unit)}", seen >= bar))

    def within(self, part: str, what: str, seen: float, bar: float) -> None:
        """Seconds; CI's short form leaves five times as many."""
        self._add(Figure(part, what, _seconds(seen), f"≤ {_seconds(bar)}", seen <= bar * SLACK), LateError)

    def _add(self, figure: Figure, missed: type[AssertionError] = AssertionError) -> None:
        self._found.append((PROPERTY, tuple(figure)))
        if not figure.kept:
            raise missed(f"{figure.part}: {figure.what}: {figure.seen}, its bar is {figure.bar}")


def table(found: Sequence[Figure]) -> list[str]:
    """The lines to print, in the order measured."""
    rows = [("", "what", "seen", "bar"), *((each.part, each.what, each.seen, each.bar) for each in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], *(f"{line}{'' if each.kept else '   MISSED'}" for line, each in zip(lines[1:], found, strict=True))]


def percentile(values: list[float], share: float) -> float:
    """The value that `share` (0 to 1) of all lie at or below; infinite of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("inf")


def _seconds(value: float) -> str:
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"


def _written(value: float, unit: str) -> str:
    return f"{value:.4g}{unit}"
