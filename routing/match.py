"""What the policy says of a model, as values: which questions a route takes and whom it asks."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from backends.inference import Parameter, Parameters
from routing.cache.caching import Caching
from routing.cascade.audits import Audit
from routing.plan import Confidence, Stage, Target
from routing.principal import Principal
from routing.prompt.scorer import PromptRouter
from routing.rollout.rolling import Rolling
from routing.rollout.units import Holdout
from routing.shadow.shadows import Shadow

LOWEST_PRIORITY = 9  # 0 is the highest


class Question(msgspec.Struct, frozen=True, gc=False):
    """All that routing may look at. `request_id` makes a split by request reproducible.

    `priority`, `size`, `text_lengths` and `prompts` are filled in only where some route of the model looks at them.
    """

    principal: Principal
    headers: Mapping[str, str]  # lower-case names
    rows: int | None
    parameters: Parameters
    version: str  # the version asked for, "" for any
    request_id: str
    priority: int | None = None  # 0 (highest) to LOWEST_PRIORITY; None where the client says nothing
    size: int = 0  # bytes of the input tensors in binary form, the same in every dialect
    text_lengths: Mapping[str, int] = {}  # of BYTES inputs by name: characters of the longest element
    prompts: Mapping[str, int] = {}  # by router: the score of the hardest text that it reads, in millionths


class Range(msgspec.Struct, frozen=True):
    """Whole numbers from `low` to `high`, both included; no `high` means no end."""

    low: int
    high: int | None = None

    def holds(self, value: float) -> bool:
        """Whether the value lies inside."""
        return self.low <= value and (self.high is None or value <= self.high)

    def text(self) -> str:
        """As the document writes it: `4`, `1..8`, `16..`."""
        if self.high is None:
            return f"{self.low}.."
        return str(self.low) if self.low == self.high else f"{self.low}..{self.high}"


class Match(msgspec.Struct, frozen=True):
    """Conditions that must all hold; an empty one asks nothing. Of the words in a set, one must be the question's."""

    tenants: frozenset[str] = frozenset()
    tiers: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    versions: frozenset[str] = frozenset()
    headers: tuple[tuple[str, str], ...] = ()
    parameters: tuple[tuple[str, Parameter], ...] = ()
    rows: Range | None = None
    size: Range | None = None
    priority: Range | None = None
    text_lengths: tuple[tuple[str, Range], ...] = ()
    prompts: tuple[tuple[str, Range], ...] = ()  # scores in millionths
    parameter_ranges: tuple[tuple[str, Range], ...] = ()  # of parameters that are numbers
    every: tuple[Match, ...] = ()  # all of them
    some: tuple[Match, ...] = ()  # at least one of them; empty asks nothing
    never: Match | None = None  # its conditions must not all hold


class Use(msgspec.Struct, frozen=True):
    """Always the one target."""

    target: Target


class Split(msgspec.Struct, frozen=True):
    """Targets by weight; the unit (tenant, subject, request, header:<name>) decides, so that it always gets the same one."""

    shares: tuple[tuple[Target, float], ...]
    unit: str


class Cascade(msgspec.Struct, frozen=True):
    """Stages from cheap to dear; only what is unsure goes on. `audit`: whether what is kept is right."""

    confidence: Confidence
    stages: tuple[Stage, ...]
    speculate: float | None = None  # the share of rows from which on the next stage may be asked before its turn
    audit: Audit | None = None
    budget: float | None = None  # the share of its rows that may go up, 0 to 1


class Route(msgspec.Struct, frozen=True):
    """One rule of a model: when it matches, what it does."""

    name: str
    match: Match
    action: Use | Split | Cascade
    timeout: float  # seconds
    sample: float = 0.0  # the share of its requests that is recorded for `penstock policy diff` and `backtest`


class Versions(msgspec.Struct, frozen=True):
    """Which versions a client may ask for: those `named`, or the `latest` so many; neither: all that the backend serves."""

    named: frozenset[str] = frozenset()
    latest: int | None = None


class RouteTable(msgspec.Struct, frozen=True):
    """All that the policy says of one public model; the last route matches everything."""

    model: str
    routes: tuple[Route, ...]
    fallback: Mapping[str, Target] = {}
    dearest: float = 0.0  # what a row of the dearest variant costs
    priced: tuple[Target, ...] = ()  # all variants, where one has a price beside its rows: who is dearest hangs on the question
    versions: Versions = Versions()
    cache: Caching | None = None
    shadows: tuple[tuple[Shadow, Target], ...] = ()  # each with its candidate
    rollouts: tuple[Rolling, ...] = ()
    routers: tuple[PromptRouter, ...] = ()  # that the matches name
    holdout: Holdout | None = None  # of these rollouts
