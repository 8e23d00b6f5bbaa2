"""Whom a model's routes may ask."""

from __future__ import annotations

from routing.match import Cascade, Route, RouteTable, Split, Use
from routing.plan import Target


def targets(table: RouteTable) -> tuple[Target, ...]:
    """Every target that some route may ask, each once, in the document's order; fallbacks last."""
    found = [target for route in table.routes for target in _asked(route)]
    return tuple(dict.fromkeys([*found, *table.fallback.values()]))


def entrances(table: RouteTable) -> tuple[Target, ...]:
    """Those of them that may be asked first, and whoever may stand in for one of these."""
    wanted = [target for route in table.routes for target in _first(route)]
    found: dict[Target, None] = {}
    while wanted:
        target = wanted.pop(0)
        if target not in found:
            found[target] = None
            wanted += [table.fallback[target.variant]] if target.variant in table.fallback else []
    return tuple(found)


def _first(route: Route) -> list[Target]:
    asked = _asked(route)
    return asked[:1] if isinstance(route.action, Cascade) else asked


def _asked(route: Route) -> list[Target]:
    match route.action:
        case Use(target):
            return [target]
        case Split(shares, _):
            return [target for target, weight in shares if weight > 0]
        case Cascade(_, stages):
            return [stage.target for stage in stages]
