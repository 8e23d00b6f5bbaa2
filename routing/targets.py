"""Whom a model's routes may ask."""

from __future__ import annotations

from routing.match import Cascade, Route, RouteTable, Split, Use
from routing.plan import Target


def targets(table: RouteTable) -> tuple[Target, ...]:
    """Every target that some route may ask, each once, in the document's order; fallbacks last."""
    found = [target for route in table.routes for target in _asked(route)]
    return tuple(dict.fromkeys([*found, *table.fallback.values()]))


def _asked(route: Route) -> list[Target]:
    match route.action:
        case Use(target):
            return [target]
        case Split(shares, _):
            return [target for target, weight in shares if weight > 0]
        case Cascade(_, stages):
            return [stage.target for stage in stages]
