"""Why a question goes where it goes: each route held against it with the serving code's own conditions and its own planner."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from backends.errors import InferenceError
from routing.conditions import Condition, conditions, looks_of
from routing.match import Match, Question, Route, RouteTable, Split, Use
from routing.plan import Plan
from routing.planner import Planner, planner, unit_of
from routing.split import bid, key, place
from routing.targets import targets


class Finding(msgspec.Struct, frozen=True):
    """One condition held against a question. `found` is what the question has there, None where it has nothing."""

    key: str
    wanted: str
    found: str | int | float | bool | None
    holds: bool
    parts: tuple[tuple[Finding, ...], ...] = ()  # of `any`, `all` and `not`


class Tried(msgspec.Struct, frozen=True):
    """One route: `hit`, `missed`, or `not reached` because one before it was hit; its conditions unless not reached."""

    route: str
    outcome: str
    conditions: tuple[Finding, ...] = ()

    @property
    def misses(self) -> tuple[Finding, ...]:
        """The conditions that do not hold."""
        return tuple(each for each in self.conditions if not each.holds)


class Side(msgspec.Struct, frozen=True):
    """One variant of a split: its share of all units, and its bid for this one (routing/split.py); the lowest bid wins."""

    variant: str
    share: float
    bid: float | None


class Lot(msgspec.Struct, frozen=True):
    """How a split decides. `value` is the unit's, "" and no bids where the question says nothing that could decide it."""

    unit: str
    value: str
    sides: tuple[Side, ...]


class Possibility(msgspec.Struct, frozen=True):
    """What the planner makes of the question: a plan, or its refusal; `share` of the requests like this one."""

    result: Plan | InferenceError
    share: float = 1.0


class Explained(msgspec.Struct, frozen=True):
    """Every route, in order, and of the one that is hit the split, if it has one."""

    tried: tuple[Tried, ...]
    lot: Lot | None = None


class Explainer:
    """A model's routes, made ready for many questions; `plan` is what serves them live, `looks` and `targets` as there."""

    def __init__(self, table: RouteTable) -> None:
        self.table = table
        self.plan = planner(table)
        self.targets = targets(table)
        self.looks = looks_of(table)
        self._conditions = [conditions(route.match) for route in table.routes]
        self._sides: dict[int, tuple[tuple[Planner, float], ...]] = {}  # by the route's place; 7 µs a side to make

    def hit(self, question: Question, start: int = 0) -> int | None:
        """The place of the first route, from `start` on, that takes the question."""
        each = range(start, len(self._conditions))
        return next((at for at in each if all(condition.holds(question) for condition in self._conditions[at])), None)

    def sides(self, question: Question) -> tuple[tuple[Planner, float], ...]:
        """Where the route is a split that nothing in the question decides: a planner for each side, and the side's share."""
        at = None if question.request_id else self.hit(question)  # an id decides every split
        if at is None:
            return ()
        route = self.table.routes[at]
        if not isinstance(route.action, Split) or unit_of(question, route.action.unit):
            return ()
        if at not in self._sides:
            self._sides[at] = tuple(_sides(self.table, route, route.action))
        return self._sides[at]

    def explain(self, question: Question) -> Explained:
        """What each route makes of the question, and how its split would decide."""
        at = self.hit(question)
        reached = len(self._conditions) if at is None else at + 1
        tried = [
            Tried(route.name, "hit" if place == at else "missed", _findings(each, question))
            if place < reached
            else Tried(route.name, "not reached")
            for place, (route, each) in enumerate(zip(self.table.routes, self._conditions, strict=True))
        ]
        hit = None if at is None else self.table.routes[at]
        lot = _lot(self.table, hit, hit.action, question) if hit is not None and isinstance(hit.action, Split) else None
        return Explained(tuple(tried), lot)


def _sides(table: RouteTable, route: Route, split: Split) -> Iterator[tuple[Planner, float]]:
    whole = sum(weight for _, weight in split.shares)
    for target, weight in split.shares:
        if weight > 0:
            yield planner(only(table, replace(route, action=Use(target)))), weight / whole


def only(table: RouteTable, route: Route | None) -> RouteTable:
    """The table as if every question came to this route, or to none."""
    return replace(table, routes=() if route is None else (replace(route, match=Match()),))


def _findings(several: tuple[Condition, ...], question: Question) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            condition.key,
            condition.wanted,
            _plain(condition.found(question)),
            condition.holds(question),
            tuple(_findings(part, question) for part in condition.parts),
        )
        for condition in several
    )


def _plain(found: object) -> str | int | float | bool | None:
    return found if isinstance(found, str | int | float | bool | None) else str(found)


def _lot(table: RouteTable, route: Route, split: Split, question: Question) -> Lot:
    value, whole = unit_of(question, split.unit), sum(weight for _, weight in split.shares)
    lines = key(table.model, route.name)
    sides = [
        Side(target.variant, weight / whole, bid(place(f"{lines}/{target.variant}", value), weight) if value else None)
        for target, weight in split.shares
        if weight > 0
    ]
    return Lot(split.unit, value, tuple(sides))
