"""A policy's rules with one small thing wrong each: what a slip of the pen could make of a route.

A route's place in its table is fixed by the routes before it, so a mutant changes answers exactly where its match differs from
the route's own, past those before it, or where it answers otherwise; `shows` is the match of those questions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from gateway.review.words import all_asked
from routing.conditions import conditions
from routing.match import Cascade, Match, Route, RouteTable, Split, Use
from routing.targets import targets

NEVER = Match(never=Match())  # holds for no question


@dataclass(frozen=True, slots=True)
class Mutant:
    """The route at `index` replaced by `route`, wherever else nothing changes; `said` in words.

    Whatever it does otherwise shows on questions that no earlier route takes and one of `shows` matches.
    """

    index: int
    route: Route
    said: str
    shows: tuple[Match, ...]


def mutants(table: RouteTable, index: int) -> Iterator[Mutant]:
    """Those of one route; the first is the route taken away."""
    route = table.routes[index]
    yield Mutant(index, replace(route, match=NEVER), "it is taken away", (route.match,))
    for rest, only in parts(route.match):
        said = all_asked(conditions(only))
        yield _matching(index, route, rest, f"'{said}' is left out")
        yield _matching(index, route, _both(rest, Match(never=only)), f"'{said}' is turned round")
    options = route.match.some
    for at, option in enumerate(options if len(options) > 1 else ()):
        said = f"'{all_asked(conditions(option))}' is left out of its 'any'"
        yield _matching(index, route, replace(route.match, some=options[:at] + options[at + 1 :]), said)
    for after in table.routes[index + 1 : index + 2]:
        above = _both(route.match, Match(never=after.match))
        yield _matching(index, route, above, f"it stands below '{after.name}'")
    for action, said in _actions(table, route):
        yield Mutant(index, replace(route, action=action), said, (route.match,))


def parts(match: Match) -> Iterator[tuple[Match, Match]]:
    """The match without one of its conditions, and that condition alone; once for each."""
    whole = Match()
    for name in ("tenants", "tiers", "scopes", "versions", "rows", "size", "priority", "some", "never"):
        if getattr(match, name) != getattr(whole, name):
            yield replace(match, **{name: getattr(whole, name)}), replace(whole, **{name: getattr(match, name)})
    for name in ("headers", "parameters", "text_lengths", "prompts", "parameter_ranges", "every"):
        several = getattr(match, name)
        for at, each in enumerate(several):
            yield replace(match, **{name: several[:at] + several[at + 1 :]}), replace(whole, **{name: (each,)})


def _matching(index: int, route: Route, match: Match, said: str) -> Mutant:
    shows = (_both(route.match, Match(never=match)), _both(match, Match(never=route.match)))
    return Mutant(index, replace(route, match=match), said, shows)


def _both(one: Match, other: Match) -> Match:
    return Match(every=(one, other))


def _actions(table: RouteTable, route: Route) -> Iterator[tuple[Use | Split | Cascade, str]]:
    match route.action:
        case Use(target):
            other = next((each for each in targets(table) if each.variant != target.variant), None)
            if other is not None:
                yield Use(other), f"it uses '{other.variant}'"
        case Split(shares, unit):
            asked = [target for target, weight in shares if weight > 0]
            for out in asked if len(asked) > 1 else ():
                kept = tuple((target, 0.0 if target is out else weight) for target, weight in shares)
                yield Split(kept, unit), f"its split gives '{out.variant}' nobody"
        case Cascade(_, stages) as cascade:
            for at, stage in enumerate(stages):
                kept_stages = stages[:at] + stages[at + 1 :]
                yield replace(cascade, stages=kept_stages), f"its cascade lacks the stage '{stage.target.variant}'"
