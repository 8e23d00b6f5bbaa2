"""What a policy would decide about recorded requests, by the data plane and the planner that serve live ones.

Names in a sample are pseudonyms, so the names in the policy are put under the sample's own salt first. A split is decided by
where the unit stood on each side's line, which the sample says; a side that the sample says nothing of is drawn by the unit's
pseudonym: right in its share and sticky, but not unit by unit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from math import inf
from typing import TypeVar

from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, Tensors, TensorSpec
from gateway.dataplane import Inquiry
from gateway.review import deciding
from gateway.snapshot import Model, Snapshot
from gateway.telemetry.sample import Sample, hidden, pseudonym
from policies.call import Call
from routing.match import Match, Question, Route, RouteTable, Split, Use
from routing.plan import Plan, Target
from routing.planner import Planner, planner, unit_of
from routing.principal import Principal
from routing.sampling import Sampling, needed
from routing.split import bid, drawing, key, place
from routing.targets import targets

T = TypeVar("T")
_SALTS = 64  # of different gateways, under which the policy is held ready at once
_OPEN = Target("", "", "")  # stands for a split while nobody knows its side; any version may be asked of it
_UNTOLD = frozenset({"version", "not-ready"})  # why a version is refused that the policy itself would not refuse


class Replay:
    """One policy, as it would decide. `tables` by public model, `aliases` by the name that clients may use instead.

    `drawn` counts samples whose split was drawn by pseudonym, `blind` those that do not say what the policy looks at
    (`header x-a`), `guessed` those whose version only a backend could judge: it is refused if it was then; `limited` those that
    a limit refused then: what limits would do now hangs on all other requests, too.
    """

    def __init__(self, tables: Mapping[str, RouteTable], aliases: Mapping[str, str]) -> None:
        self._tables = tables
        self._aliases = aliases
        self._snapshots: dict[str, Snapshot] = {}
        self._needed = {name: needed(table) for name, table in tables.items()}
        self.drawn = 0
        self.guessed = 0
        self.limited = 0
        self.blind: Counter[str] = Counter()
        self._now: Sample  # the one that is being decided about

    def decide(self, sample: Sample) -> Plan | InferenceError:
        """The plan, or why there is none. `salt` must be hexadecimal digits, else ValueError."""
        self._now = sample
        self.limited += sample.reason == ErrorKind.LIMITED
        snapshot = self._snapshots.get(sample.salt) or self._of_salt(sample.salt)
        request = InferenceRequest(
            sample.asked or sample.model, sample.version, "", _given(sample.parameters), _inputs(sample.rows), (), Tensors(())
        )
        who = Principal(sample.subject, sample.tenant, sample.tier, frozenset(sample.scopes))
        inquiry = Inquiry(who, _given(sample.headers), sample.request_id, 0.0, None)
        try:
            call = deciding.decide(snapshot, request, inquiry)
        except InferenceError as error:
            return error
        return self._versioned(call) if sample.version else call.plan

    def _versioned(self, call: Call) -> Plan | InferenceError:
        """Which are the latest versions only a backend knows: if the sample's was refused then, it is now."""
        table = self._tables[call.model]
        if table.versions.latest is None or call.plan.stages[0].target in targets(table):
            return call.plan
        self.guessed += 1
        if self._now.route or self._now.reason not in _UNTOLD:
            return call.plan
        return InferenceError(ErrorKind.NOT_FOUND, "refused when it was recorded", source="client", reason=self._now.reason)

    def _of_salt(self, salt: str) -> Snapshot:
        if len(self._snapshots) >= _SALTS:
            self._snapshots.clear()
        models = {name: self._model(table, bytes.fromhex(salt)) for name, table in self._tables.items()}
        self._snapshots[salt] = Snapshot("", models, {}, {}, self._aliases)
        return self._snapshots[salt]

    def _model(self, table: RouteTable, salt: bytes) -> Model:
        routes = tuple(replace(route, match=_hidden(route.match, salt)) for route in table.routes)
        table, looks = replace(table, routes=routes), self._needed[table.model]
        first = planner(replace(table, routes=tuple(map(_undecided, routes))))
        splits = {route.name: _Sides(table, route) for route in routes if isinstance(route.action, Split)}

        def plan(question: Question) -> Plan:
            now = self._now
            self._see(now, looks)
            if looks.looks:
                scores = {each.name: now.prompt.get(each.key) for each in looks.looks.routers}
                size, lengths = now.bytes or 0, _given(now.text_length)
                question = replace(question, priority=now.priority, size=size, text_lengths=lengths, prompts=_given(scores))
            made = first(question)
            split = splits.get(made.route)
            if split is None:
                return made
            side, exact = split.of(now, question)
            self.drawn += not exact
            return side(question)

        return deciding.model(table, plan, targets(table))

    def _see(self, sample: Sample, looked: Sampling) -> None:
        for name in looked.headers:
            if name not in sample.headers:
                self.blind[f"header {name}"] += 1
        for name in looked.parameters:
            if name not in sample.parameters:
                self.blind[f"parameter {name}"] += 1
        for name in looked.looks.texts:
            if name not in sample.text_length:
                self.blind[f"text_length {name}"] += 1
        for router in looked.looks.routers:
            if router.key not in sample.prompt:
                self.blind[f"prompt {router.name}"] += 1
        if looked.looks.size and "bytes" not in sample.looked:
            self.blind["bytes"] += 1
        if looked.looks.priority and "priority" not in sample.looked:
            self.blind["priority"] += 1


class _Sides:
    """A split whose side the sample decides: for each side the planner of the same table with that side alone."""

    def __init__(self, table: RouteTable, route: Route) -> None:
        assert isinstance(route.action, Split)
        self._unit = route.action.unit
        self._key = key(table.model, route.name)
        self._place = f"{route.name} {route.action.unit}"
        self._sides = tuple((target.variant, weight) for target, weight in route.action.shares)
        self._draw = drawing(self._key, self._sides)
        self._planners = tuple(planner(_decided(table, route, target)) for target, _ in route.action.shares)

    def of(self, sample: Sample, question: Question) -> tuple[Planner, bool]:
        """The side's planner, and whether it is the side that a live request would be given."""
        unit = unit_of(question, self._unit)
        if unit == sample.request_id:
            return self._planners[self._draw(unit)], True
        known, exact, best, won = sample.places.get(self._place, {}), True, inf, 0
        for index, (name, weight) in enumerate(self._sides):
            if weight > 0:
                at = known.get(name)
                if at is None or not 0 < at < 1:
                    at, exact = place(f"{self._key}/{name}", unit), False
                offered = bid(at, weight)
                if offered < best:
                    best, won = offered, index
        return self._planners[won], exact


def _undecided(route: Route) -> Route:
    return replace(route, action=Use(_OPEN)) if isinstance(route.action, Split) else route


def _decided(table: RouteTable, split: Route, target: Target) -> RouteTable:
    one = replace(split, action=Use(target))
    return replace(table, routes=tuple(one if route is split else _undecided(route) for route in table.routes))


def _hidden(match: Match, salt: bytes) -> Match:
    """The match with pseudonyms for all names that stand in samples as such."""
    return replace(
        match,
        tenants=frozenset(pseudonym(salt, tenant) for tenant in match.tenants),
        headers=tuple((name, pseudonym(salt, value)) for name, value in match.headers),
        parameters=tuple((name, hidden(salt, value)) for name, value in match.parameters),
        every=tuple(_hidden(part, salt) for part in match.every),
        some=tuple(_hidden(part, salt) for part in match.some),
        never=None if match.never is None else _hidden(match.never, salt),
    )


def _given(values: Mapping[str, T | None]) -> Mapping[str, T]:
    """Without what the request did not have."""
    return {name: value for name, value in values.items() if value is not None} if values else {}


@lru_cache(maxsize=1024)
def _inputs(rows: int | None) -> tuple[TensorSpec, ...]:
    return () if rows is None else (TensorSpec("x", "FP32", (rows,)),)
