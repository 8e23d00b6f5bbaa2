"""Whom recorded requests would be answered by under another policy, in words, by tier, tenant and model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from gateway.review.traffic.decided import ByPolicy, Decided
from gateway.review.traffic.weights import Weights
from gateway.telemetry.sample import Sample, pseudonym
from routing.match import Match, RouteTable

KINDS = ("tier", "tenant", "model")
MOST = 10_000  # tenants and tiers told apart; more are one
OTHERS = "(others)"
NONE = "(none)"


class Moved(msgspec.Struct, frozen=True):
    """Some requests of a tier, tenant or model, and what happens to them: `move from accurate to fast`."""

    what: str
    requests: float
    samples: int


class Part(msgspec.Struct, frozen=True):
    """A tier, tenant or model: how many requests it has and what happens to those that are treated otherwise."""

    kind: str
    name: str
    requests: float
    samples: int
    moved: tuple[Moved, ...]


class Moves:
    """Takes one sample after another. `old` and `new` decide; `names` are the tenants that the policies speak of."""

    def __init__(self, old: ByPolicy, new: ByPolicy, names: Iterable[str]) -> None:
        self._old = old
        self._new = new
        self._names = tuple(names)
        self._salts: dict[str, dict[str, str]] = {}  # by salt: pseudonym to name
        self._parts: dict[str, dict[str, _Part]] = {kind: {} for kind in KINDS}
        self._whole = _Part()

    def take(self, sample: Sample) -> None:
        """One sample."""
        old, new = self._old.decided(sample), self._new.decided(sample)
        what = happens(old, new) if old != new else ""
        weight = 1 / sample.share
        self._whole.take(what, weight)
        for kind, name in (("tier", sample.tier), ("tenant", self._tenant(sample)), ("model", sample.asked or sample.model)):
            parts = self._parts[kind]
            part = parts.get(name)
            if part is None:
                part = parts.setdefault(name if len(parts) < MOST else OTHERS, _Part())
            part.take(what, weight)

    def whole(self) -> Part:
        """All of it together."""
        return self._whole.told("", "")

    def parts(self) -> Iterator[Part]:
        """Each tier, tenant and model, of each kind those first of which most is treated otherwise."""
        for kind in KINDS:
            told = [part.told(kind, name or NONE) for name, part in self._parts[kind].items()]
            yield from sorted(told, key=lambda part: (-sum(each.requests for each in part.moved), -part.requests, part.name))

    def _tenant(self, sample: Sample) -> str:
        known = self._salts.get(sample.salt)
        if known is None:
            if len(self._salts) >= MOST:
                self._salts.clear()
            salt = bytes.fromhex(sample.salt)
            known = self._salts[sample.salt] = {pseudonym(salt, name): name for name in self._names}
        return known.get(sample.tenant, sample.tenant)


class _Part:
    def __init__(self) -> None:
        self.requests = 0.0
        self.samples = 0
        self.moved = Weights[str]()
        self.counted: Counter[str] = Counter()

    def take(self, what: str, weight: float) -> None:
        self.samples += 1
        self.requests += weight
        if what:
            self.moved[what] += weight
            self.counted[what] += 1

    def told(self, kind: str, name: str) -> Part:
        moved = tuple(Moved(what, requests, self.counted[what]) for what, requests in self.moved.heaviest())
        return Part(kind, name, self.requests, self.samples, moved)


def happens(old: Decided, new: Decided) -> str:
    """What becomes of a request, in words; "" if nothing that anybody would notice."""
    if old.refused or new.refused:
        return _refusals(old, new)
    if old.label != new.label:
        return f"move from {old.label} to {new.label}"
    was, now = old.facts, new.facts
    if was is None or now is None:
        return "" if old.route == new.route else f"take route {new.route}, not {old.route}, to {new.label}"
    if [stage.target for stage in was.stages] != [stage.target for stage in now.stages]:
        return f"stay with {new.label}, of which another model answers"
    if (was.stages, was.confidence) != (now.stages, now.confidence):
        return f"go up {new.label} by other thresholds"
    if old.route != new.route:
        return f"take route {new.route}, not {old.route}, to {new.label}"
    return "" if was.timeout == now.timeout else f"stay with {new.label} under another timeout"


def _refusals(old: Decided, new: Decided) -> str:
    if old.refused and new.refused:
        return "" if old.refused == new.refused else f"are refused for {new.refused}, not {old.refused}"
    if new.refused:
        return f"are refused ({new.refused}), no longer answered by {old.label}"
    return f"are answered by {new.label}, no longer refused ({old.refused})"


def tenants(tables: Mapping[str, RouteTable]) -> set[str]:
    """The tenants that a policy speaks of."""
    return {name for table in tables.values() for route in table.routes for name in _tenants(route.match)}


def _tenants(match: Match) -> Iterator[str]:
    yield from match.tenants
    for part in (*match.every, *match.some, *(() if match.never is None else (match.never,))):
        yield from _tenants(part)
