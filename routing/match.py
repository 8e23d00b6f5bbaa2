"""Which route a question takes: the first whose conditions all hold, compiled once per policy document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from backends.inference import NO_PARAMETERS, Parameter, Parameters
from routing.plan import Confidence, Stage, Target
from routing.principal import Principal


@dataclass(frozen=True, slots=True)
class Question:
    """All that routing may look at. `unit_seed` makes a per-request split reproducible: the request's id."""

    principal: Principal
    headers: Mapping[str, str]  # lower-case names
    rows: int | None
    parameters: Parameters
    version: str  # the version asked for, "" for any
    request_id: str


@dataclass(frozen=True, slots=True)
class Range:
    """Whole numbers from `low` to `high`, both included; no `high` means no end."""

    low: int
    high: int | None = None

    def holds(self, value: int) -> bool:
        """Whether the value lies inside."""
        return self.low <= value and (self.high is None or value <= self.high)


@dataclass(frozen=True, slots=True)
class Match:
    """Conditions that must all hold; an empty one asks nothing."""

    tenants: frozenset[str] = frozenset()
    tiers: frozenset[str] = frozenset()
    headers: tuple[tuple[str, str], ...] = ()
    rows: Range | None = None
    parameters: tuple[tuple[str, Parameter], ...] = ()


@dataclass(frozen=True, slots=True)
class Use:
    """Always the one target."""

    target: Target


@dataclass(frozen=True, slots=True)
class Split:
    """Targets by weight; the unit (tenant, subject, request, header:<name>) decides, so that it always gets the same one."""

    shares: tuple[tuple[Target, float], ...]
    unit: str


@dataclass(frozen=True, slots=True)
class Cascade:
    """Stages from cheap to dear; only what is unsure goes on."""

    confidence: Confidence
    stages: tuple[Stage, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """One rule of a model: when it matches, what it does."""

    name: str
    match: Match
    action: Use | Split | Cascade
    timeout: float  # seconds


@dataclass(frozen=True, slots=True)
class RouteTable:
    """All that the policy says of one public model; the last route matches everything."""

    model: str
    routes: tuple[Route, ...]
    fallback: Mapping[str, Target] = field(default_factory=dict)
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


__all__ = ["NO_PARAMETERS", "Cascade", "Match", "Question", "Range", "Route", "RouteTable", "Split", "Use", "predicates", "same"]
