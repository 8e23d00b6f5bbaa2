"""What a recorded sample of a model must say so that its routes can be judged again: what they look at, and no more."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from routing.conditions import Looks, looks_of
from routing.match import Match, Question, RouteTable, Split
from routing.planner import unit_of
from routing.split import key, place


class Sided(msgspec.Struct, frozen=True):
    """A split as a sample speaks of it: the names of its sides, and the unit that stays on one."""

    route: str
    unit: str
    sides: tuple[str, ...]


class Sampling(msgspec.Struct, frozen=True):
    """For one model. `most` is the largest share that one of its routes records: refused requests, on no route, take that."""

    model: str
    headers: tuple[str, ...]
    parameters: tuple[str, ...]
    looks: Looks
    splits: tuple[Sided, ...]
    most: float


def sampling(table: RouteTable) -> Sampling | None:
    """What to record of the model's requests; None if no route is sampled."""
    found = needed(table)
    return found if found.most else None


def needed(table: RouteTable) -> Sampling:
    """What a sample of the model must say, whether or not a route is sampled."""
    splits = [(route, route.action) for route in table.routes if isinstance(route.action, Split)]
    units = {split.unit.removeprefix("header:") for _, split in splits if split.unit.startswith("header:")}
    matches = [each for route in table.routes for each in _all(route.match)]
    return Sampling(
        table.model,
        tuple(sorted({name for match in matches for name, _ in match.headers} | units)),
        tuple(sorted({name for match in matches for name, _ in (*match.parameters, *match.parameter_ranges)})),
        looks_of(table),
        tuple(
            Sided(route.name, split.unit, tuple(target.variant for target, _ in split.shares))
            for route, split in splits
            if split.unit != "request"  # which the request's id decides
        ),
        max(route.sample for route in table.routes),
    )


def steady(table: RouteTable, passing: frozenset[str]) -> bool:
    """Whether a question gets the same plan whatever its id is, and whatever these of its headers say."""
    split = any(isinstance(route.action, Split) for route in table.routes)  # by the id, at least for who lacks its unit
    return not split and passing.isdisjoint(needed(table).headers)


def places(each: Sampling, question: Question) -> dict[str, dict[str, float]]:
    """Where the question's unit stands on the line of every side of every split, by `route unit` and side."""
    found: dict[str, dict[str, float]] = {}
    for split in each.splits:
        unit = unit_of(question, split.unit)
        found[f"{split.route} {split.unit}"] = {
            side: place(f"{key(each.model, split.route)}/{side}", unit) for side in split.sides
        }
    return found


def _all(match: Match) -> Iterator[Match]:
    yield match
    for part in (*match.every, *match.some, *(() if match.never is None else (match.never,))):
        yield from _all(part)
