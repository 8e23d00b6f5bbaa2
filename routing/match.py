"""Which route a question takes: the first whose conditions all hold, compiled once per policy document."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from backends.inference import Parameter, Parameters
from routing.plan import Confidence, Stage, Target
from routing.principal import Principal


class Question(msgspec.Struct, frozen=True, gc=False):
    """All that routing may look at. `request_id` makes a split by request reproducible."""

    principal: Principal
    headers: Mapping[str, str]  # lower-case names
    rows: int | None
    parameters: Parameters
    version: str  # the version asked for, "" for any
    request_id: str


class Range(msgspec.Struct, frozen=True):
    """Whole numbers from `low` to `high`, both included; no `high` means no end."""

    low: int
    high: int | None = None

    def holds(self, value: int) -> bool:
        """Whether the value lies inside."""
        return self.low <= value and (self.high is None or value <= self.high)


class Match(msgspec.Struct, frozen=True):
    """Conditions that must all hold; an empty one asks nothing."""

    tenants: frozenset[str] = frozenset()
    tiers: frozenset[str] = frozenset()
    headers: tuple[tuple[str, str], ...] = ()
    rows: Range | None = None
    parameters: tuple[tuple[str, Parameter], ...] = ()


class Use(msgspec.Struct, frozen=True):
    """Always the one target."""

    target: Target


class Split(msgspec.Struct, frozen=True):
    """Targets by weight; the unit (tenant, subject, request, header:<name>) decides, so that it always gets the same one."""

    shares: tuple[tuple[Target, float], ...]
    unit: str


class Cascade(msgspec.Struct, frozen=True):
    """Stages from cheap to dear; only what is unsure goes on."""

    confidence: Confidence
    stages: tuple[Stage, ...]


class Route(msgspec.Struct, frozen=True):
    """One rule of a model: when it matches, what it does."""

    name: str
    match: Match
    action: Use | Split | Cascade
    timeout: float  # seconds


class RouteTable(msgspec.Struct, frozen=True):
    """All that the policy says of one public model; the last route matches everything."""

    model: str
    routes: tuple[Route, ...]
    fallback: Mapping[str, Target] = {}
    dearest: float = 0.0


Predicate = Callable[[Question], bool]


def predicates(match: Match) -> tuple[Predicate, ...]:
    """The match as functions of a question, cheapest first; an empty match gives none."""
    found: list[Predicate] = []
    if match.tenants:
        found.append(lambda question, tenants=match.tenants: question.principal.tenant in tenants)  # type: ignore[misc]
    if match.tiers:
        found.append(lambda question, tiers=match.tiers: question.principal.tier in tiers)  # type: ignore[misc]
    for name, value in match.headers:
        found.append(lambda question, name=name, value=value: question.headers.get(name) == value)  # type: ignore[misc]
    if match.rows is not None:
        found.append(lambda question, rows=match.rows: question.rows is not None and rows.holds(question.rows))  # type: ignore[misc]
    for name, wanted in match.parameters:
        found.append(lambda question, name=name, wanted=wanted: same(question.parameters.get(name), wanted))  # type: ignore[misc]
    return tuple(found)


def same(found: Parameter | None, wanted: Parameter) -> bool:
    """Equal in value and in kind: `true` is not `1`, but `1` is `1.0`."""
    return found == wanted and isinstance(found, bool) == isinstance(wanted, bool)
