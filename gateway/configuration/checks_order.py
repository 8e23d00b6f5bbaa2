"""Judges the order of a model's routes: can each of them be reached, and does every request find one?"""

from __future__ import annotations

from msgspec.structs import replace

from backends.inference import Parameter
from gateway.configuration import schema_policy as policy
from gateway.configuration.decode import Findings
from gateway.configuration.problems import Path, shown
from gateway.configuration.tables import match_of
from routing.match import Match, Range


def check_order(found: Findings, path: Path, routes: tuple[policy.Route, ...]) -> None:
    """Notes in `found` every route of one model that no question reaches, and a last one that not every question reaches."""
    matches = [match_of(route.match) for route in routes]
    if matches[-1] != Match():
        message = f"the last route {shown(routes[-1].name)} must have no match, so that every request finds a route"
        found.wrong((*path, len(routes) - 1, "match"), message)
    readable: list[int] = []  # routes above whose conditions are known
    for index, match in enumerate(matches):
        place = (*path, index)
        earlier = next((at for at in readable if covers(matches[at], match)), None)
        if place not in found.spoiled:
            readable.append(index)
        if earlier is not None:
            why = "has no match and takes everything" if matches[earlier] == Match() else "matches whatever this one does"
            line = found.source.mark((*path, earlier)).line
            name, first = shown(routes[index].name), shown(routes[earlier].name)
            found.wrong(place, f"route {name} can never match: {first} (line {line}) {why}")


def covers(wide: Match, narrow: Match) -> bool:
    """Whether every question that `narrow` matches is matched by `wide`, as far as the conditions themselves tell."""
    if replace(wide, tenants=frozenset(), tiers=frozenset(), headers=(), rows=None, parameters=()) != Match():
        return False  # conditions that are not compared yet
    return (
        (not wide.tenants or (bool(narrow.tenants) and narrow.tenants <= wide.tenants))
        and (not wide.tiers or (bool(narrow.tiers) and narrow.tiers <= wide.tiers))
        and (not wide.headers or set(wide.headers) <= set(narrow.headers))
        and _covers_rows(wide.rows, narrow.rows)
        and (not wide.parameters or _kinds(wide.parameters) <= _kinds(narrow.parameters))
    )


def _kinds(parameters: tuple[tuple[str, Parameter], ...]) -> set[tuple[str, bool, Parameter]]:
    """Parameters as routing compares them: true is not 1, though Python's sets hold them for the same."""
    return {(name, isinstance(value, bool), value) for name, value in parameters}


def _covers_rows(wide: Range | None, narrow: Range | None) -> bool:
    if wide is None:
        return True
    if narrow is None or narrow.low < wide.low:
        return False
    return wide.high is None or (narrow.high is not None and narrow.high <= wide.high)
