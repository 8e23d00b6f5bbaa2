"""Judges the order of a model's routes: can each of them be reached, and does every request find one?"""

from __future__ import annotations

from gateway.configuration import schema_policy as policy
from gateway.configuration.decode import Findings
from gateway.configuration.problems import Path, shown
from gateway.configuration.tables import match_of
from routing.cover import Cover
from routing.match import Match

_NAMED = 4  # routes that one message names


def check_order(found: Findings, path: Path, routes: tuple[policy.Route, ...]) -> None:
    """Notes in `found` every route of one model that no question reaches, and a last one that not every question reaches.

    A route that could not be read wholly is not judged, and hides no other: one slip is one problem.
    """
    matches = [match_of(route.match) for route in routes]
    if matches[-1] != Match():
        message = f"the last route {shown(routes[-1].name)} must have no match, so that every request finds a route"
        found.wrong((*path, len(routes) - 1, "match"), message)
    readable = [None if (*path, index) in found.spoiled else match for index, match in enumerate(matches)]
    for index, takers in Cover(readable).hidden():
        place, never = (*path, index), f"route {shown(routes[index].name)} can never match"
        if not takers:
            found.wrong((*place, "match"), f"{never}: no request can meet all its conditions")
            continue
        named = [f"{shown(routes[each].name)} (line {found.source.mark((*path, each)).line})" for each in takers]
        if matches[takers[0]] == Match():
            found.wrong(place, f"{never}: {named[0]} has no match and takes everything")
        elif len(takers) == 1:
            found.wrong(place, f"{never}: {named[0]} matches whatever this one does")
        else:
            found.wrong(place, f"{never}: {_several(named)} together take everything it does")


def _several(named: list[str]) -> str:
    if len(named) > _NAMED:
        named = [*named[: _NAMED - 1], f"{len(named) - _NAMED + 1} others"]
    return f"{', '.join(named[:-1])} and {named[-1]}"
