"""Gives every unit its place on a rollout's line, and says which units a rollout must leave alone.

A unit (a tenant, a subject, a header's value, or a request) stands at a place between 0 and 1 by a hash that is keyed with the
rollout's id: uniform, independent between rollouts, the same in every process and for ever. It is the candidate's if its place
lies below the weight, so that nobody moves back while the weight grows.

Rollouts of one exclusion group share the group's line, on which each has a part to itself: no unit is in two of them. The holdout
is a part of one line for the whole gateway: whoever stands there is in no rollout and meets no candidate. Both are lines of their
own, so that who takes part says nothing about who gets the candidate: a part may be moved, and the holdout may grow or shrink,
and the sides of those who take part stay comparable.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from routing.split import line

MOST_REMEMBERED = 4096  # units; about 0.5 MB


class Excluded(msgspec.Struct, frozen=True):
    """Only units whose place on the group's line lies in [low, high) take part; `group` "" asks nothing."""

    group: str = ""
    low: float = 0.0
    high: float = 1.0


class Holdout(msgspec.Struct, frozen=True):
    """A share of the units; `unit` says whose."""

    share: float
    unit: str


def placing(rollout: str, excluded: Excluded) -> Callable[[str], float | None]:
    """Where a unit stands in the rollout with this id; None for a unit that takes no part and gets what is stable."""
    own = line(f"rollout/{rollout}")
    if not excluded.group:
        return own
    grouped = line(f"group/{excluded.group}")
    return lambda unit: own(unit) if excluded.low <= grouped(unit) < excluded.high else None


def holding(holdout: Holdout) -> Callable[[str], bool]:
    """Whether a unit is held out."""
    held = line("holdout")
    return lambda unit: held(unit) < holdout.share


def remembered(place: Callable[[str], float | None]) -> Callable[[str], float | None]:
    """The same; for units that come again, which then cost a tenth of their hash."""
    known: dict[str, float | None] = {}

    def found(unit: str) -> float | None:
        try:
            return known[unit]
        except KeyError:
            if len(known) >= MOST_REMEMBERED:
                known.clear()
            at = known[unit] = place(unit)
            return at

    return found
