"""Turns a checked policy document into the snapshot that requests read; what did not change is taken over as it runs."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from backends.balance import Balance
from backends.checks import CHECKING
from backends.cluster import Cluster, Sent
from backends.endpoint import Endpoint
from backends.http1.pool import HttpPool, PoolLimits
from backends.inference import LARGEST_ANSWER, Backend
from backends.rules import Checks, Ejection, Hedge, Retry, Rules
from backends.schedule import Schedules
from backends.triton_grpc import TritonGrpc
from backends.triton_http import TritonHttp
from gateway.aside import here
from gateway.audit.audits import Audits
from gateway.configuration import schema_policy
from gateway.configuration.load import load_policy, version
from gateway.configuration.schema_policy import PolicyDocument
from gateway.configuration.tables import limits_of, route_tables
from gateway.configuration.tables_prompts import scorers
from gateway.counting import Counting
from gateway.door import OPEN, Door
from gateway.review.trial import refuse_failures
from gateway.rollout.rollouts import Rollouts
from gateway.shadow.shadows import Shadows
from gateway.snapshot import PASSING, ClusterSpec, Model, Snapshot
from gateway.spawner import Spawner
from gateway.telemetry.metrics import Metrics
from policies.audit import Means as AuditMeans
from policies.authorize import AuthorizePolicy
from policies.budget import LocalTreasury, Treasury
from policies.cache import CachePolicy
from policies.call import Answer, Call, Policy, StreamAsk
from policies.cascade import CascadePolicy
from policies.coalesce import CoalescePolicy, Leases
from policies.deadline import DeadlinePolicy
from policies.direct import Around as DirectAround
from policies.direct import direct
from policies.fallback import FallbackPolicy
from policies.keeping import Around, Store
from policies.limit import LocalMeter, Meter
from policies.local_store import LocalStore
from policies.onion import core, onion
from policies.purse import Purses
from policies.rollout import RolloutPolicy
from policies.shadow import Means, ShadowPolicy
from policies.stream import streaming
from policies.stream_cache import StreamCachePolicy
from routing.cache.key import Keys
from routing.cascade.foresight import Foresight
from routing.conditions import Looks, looks_of, ready
from routing.cost import Costs
from routing.limits import Limit
from routing.match import RouteTable
from routing.plan import Target
from routing.planner import Planner, planner
from routing.prompt.scorer import Scorer
from routing.sampling import Sampling, sampling, steady
from routing.targets import entrances, targets


@dataclass(frozen=True, slots=True)
class Routing:
    """One model's table, made ready for requests."""

    plan: Planner
    targets: tuple[Target, ...]
    looks: Looks | None
    sampling: Sampling | None
    steady: bool
    plans: tuple[Planner, ...] = ()  # by the set of rollouts whose candidate is asked: bit n is of the n-th


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A policy document in routing's own values: what compiling needs, and nothing of YAML.

    `routings` are made of the tables here already, because for thousands of routes that takes too long for the event loop.
    """

    version: str
    clusters: tuple[ClusterSpec, ...]
    tables: Mapping[str, RouteTable]
    aliases: Mapping[str, str]
    limits: tuple[Limit, ...]
    routings: Mapping[str, Routing] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Lasting:
    """What outlives a snapshot: who counts, who keeps answers under which keys, where work runs, what shadows have seen.

    `answer`: bytes that one of a backend may have.
    """

    meter: Meter
    store: Store
    keys: Keys
    spawner: Spawner
    shadows: Shadows
    rollouts: Rollouts
    audits: Audits
    leases: Leases | None = None  # where the store is shared
    foresight: Foresight = field(default_factory=Foresight)
    treasury: Treasury = field(default_factory=lambda: LocalTreasury(time.time))
    purses: Purses = field(default_factory=lambda: Purses(Costs()))
    answer: int = LARGEST_ANSWER

    @property
    def costs(self) -> Costs:
        """What asks have taken until now."""
        return self.purses.costs


def lasting(clock: Callable[[], float]) -> Lasting:
    """For a snapshot that stands alone."""
    store, keys, spawner = LocalStore(1 << 20, clock), Keys(secrets.token_bytes(32), lambda _: ()), Spawner()
    shadows = Shadows(Means(spawner.spawn, clock, time.time, random.random, lambda *_: None, here))
    audits = Audits(AuditMeans(spawner.spawn, clock, random.random, lambda *_: None, lambda *_: None, here))
    return Lasting(LocalMeter(clock), store, keys, spawner, shadows, Rollouts(spawner), audits)


def blueprint(text: bytes, name: str, folder: Path = Path()) -> Blueprint:
    """The checked document of a policy file's bytes; `name` and `folder` are the file's. Raises PolicyError."""
    return drawn(load_policy(text, name), text, name, folder)


def drawn(document: PolicyDocument, text: bytes, name: str, folder: Path = Path()) -> Blueprint:
    """The same of a document that these bytes have made already. Raises PolicyError if a test of its own fails."""
    clusters = tuple(
        ClusterSpec(
            cluster_name,
            backend.protocol,
            tuple((address.host, address.port) for address in backend.endpoints),
            backend.balance,
            _rules(backend),
        )
        for cluster_name, backend in sorted(document.backends.items())
    )
    tables = route_tables(document)
    refuse_failures(document, tables, text, name)
    found = scorers(document, folder, text, name)
    routings = {name: _routing(table, found) for name, table in tables.items()}
    return Blueprint(version(text), clusters, tables, document.aliases, limits_of(document), routings)


def _routing(table: RouteTable, found: Mapping[str, Scorer]) -> Routing:
    looked = ready(looks_of(table), found) or None
    swaps: list[dict[str, Target]] = [{}]
    for rolling in table.rollouts:
        swaps += [{**each, rolling.stable: rolling.candidate} for each in swaps]
    plans = tuple(planner(table, each) for each in swaps)
    fixed = not table.rollouts and steady(table, PASSING)
    return Routing(plans[0], targets(table), looked, sampling(table), fixed, plans)


def compile_snapshot(
    blueprint: Blueprint,
    previous: Snapshot | None,
    metrics: Metrics,
    clock: Callable[[], float],
    kept: Lasting | None = None,
) -> Snapshot:
    """The snapshot. A cluster whose spec is unchanged is the previous one itself: pools and counts live on.

    So do limits and answers, if each snapshot is given the same `kept`; without one they are this snapshot's own.
    """
    kept = kept or lasting(clock)
    clusters = _clusters(blueprint, previous, metrics, kept.answer)
    metrics.limits(limit.name for limit in blueprint.limits)
    counting = Counting(blueprint.limits, kept.meter, kept.treasury, kept.costs, metrics.limited)
    around = Around(clock, random.random, kept.spawner.spawn)
    layers, innermost = _layers(metrics, around, kept, clusters), core(clusters, metrics, clock, kept.costs)
    rollout = RolloutPolicy(clock)
    rolled = kept.rollouts.rolled(blueprint.tables, {name: each.plans for name, each in blueprint.routings.items()})
    specs = {spec.name: spec for spec in blueprint.clusters}
    make = partial(cluster, sent=_uncounted, answer=kept.answer)
    shadows = kept.shadows.layers(blueprint.tables, specs, make)
    audits = kept.audits.layers(blueprint.tables, specs, make)
    beside: tuple[tuple[str, Mapping[str, Policy]], ...] = (("shadow", shadows), ("audit", audits))
    stream_of = _unmirrored(rollout.over(streaming(clusters, metrics, clock, kept.costs)), shadows)
    cache = StreamCachePolicy(kept.store, kept.keys, metrics.cached, around)
    models = {}
    for name, routing in blueprint.routings.items():
        table, more = blueprint.tables[name], counting.layers(name)
        more |= {kind: found[name] for kind, found in beside if name in found}
        more |= {"rollout": rollout} if name in rolled else {}
        ask, stream = onion(_of(table, layers, more), innermost), counting.stream(name, stream_of, cache)
        plain = routing.steady and routing.looks is None and more.keys() <= {"limit"}
        looked, door = routing.looks, _door(table, clusters)
        asked, candidates = routing.targets, tuple(each.candidate for each in table.rollouts)
        extra = table.versions, routing.sampling, door, routing.steady, rolled.get(name), candidates, _baseline(table, kept.costs)
        straight = partial(direct, clusters, DirectAround(metrics, clock), counting.tolls(name)) if plain else None
        models[name] = Model(name, routing.plan, ask, stream, asked, looked, *extra, direct=straight)
    return Snapshot(blueprint.version, models, clusters, specs, blueprint.aliases)


def _baseline(table: RouteTable, costs: Costs) -> Callable[[int], float] | None:
    return partial(costs.dearest, table.model, table.priced) if table.priced else None


def _clusters(blueprint: Blueprint, previous: Snapshot | None, metrics: Metrics, answer: int) -> dict[str, Cluster]:
    clusters: dict[str, Cluster] = {}
    for spec in blueprint.clusters:
        unchanged = previous is not None and previous.specs.get(spec.name) == spec
        made = previous.clusters[spec.name] if previous and unchanged else cluster(spec, metrics.sent, answer)
        made.repeated = metrics.repeated
        made.places.left = partial(metrics.left, "queue")
        clusters[spec.name] = made
    return clusters


def _door(table: RouteTable, clusters: Mapping[str, Cluster]) -> Door:
    if table.cache is not None:
        return OPEN  # what is kept needs no place, and what is not finds none further on
    longest = max(route.timeout for route in table.routes)
    asked = dict.fromkeys([*entrances(table), *(each.candidate for each in table.rollouts)])
    return Door([(clusters[target.backend], target.model) for target in asked], longest)


def _layers(metrics: Metrics, around: Around, kept: Lasting, clusters: Mapping[str, Cluster]) -> dict[str, Policy]:
    def shut(target: Target) -> bool:
        return clusters[target.backend].shut(target.model, target.version)

    return {
        "deadline": DeadlinePolicy(),
        "authorize": AuthorizePolicy(),
        "cache": CachePolicy(kept.store, kept.keys, metrics.cached, around),
        "coalesce": CoalescePolicy(kept.spawner.spawn, around.clock, kept.leases),
        "cascade": CascadePolicy(metrics, around.clock, kept.purses, shut, foresight=kept.foresight),
        "fallback": FallbackPolicy(metrics, around.clock),
    }


def _of(table: RouteTable, layers: Mapping[str, Policy], more: Mapping[str, Policy]) -> dict[str, Policy]:
    """Those that the model has something for: who has none of them pays for none."""
    idle = {"cache": table.cache is None, "coalesce": table.cache is None, "fallback": not table.fallback}
    return {**{name: layer for name, layer in layers.items() if not idle.get(name)}, **more}


def _unmirrored(stream: StreamAsk, shadows: Mapping[str, ShadowPolicy]) -> StreamAsk:
    """Streams are not mirrored, and that is counted."""

    def counted(call: Call) -> AsyncGenerator[Answer, None]:
        if call.plan.mirrors:
            shadows[call.model].streamed(call)
        return stream(call)

    return counted if shadows else stream


def _uncounted(cluster: str, endpoint: str, outcome: str) -> None:
    """Attempts of mirrors and audits are their own, not the backend's as clients see it."""


def cluster(spec: ClusterSpec, sent: Sent, answer: int = LARGEST_ANSWER) -> Cluster:
    """A fresh cluster, whose backends' answers may have so many bytes; it connects when first asked."""
    ejection, schedules = spec.rules.breaker, Schedules()
    backend = partial(_backend, spec, schedules, answer)
    endpoints = [Endpoint(f"{host}:{port}", backend(host, port), ejection) for host, port in spec.endpoints]
    made = Cluster(spec.name, endpoints, Balance(spec.balance, random.random), spec.rules, sent)
    made.schedules = schedules
    return made


def _rules(backend: schema_policy.Backend) -> Rules:
    retry, hedge = backend.retry, backend.hedge
    return Rules(
        backend.max_in_flight,
        None if retry is None else Retry(retry.attempts, retry.budget),
        None if hedge is None else Hedge(hedge.after, hedge.budget),
        Ejection(backend.breaker.failures, backend.breaker.open),
        Checks(backend.health.interval, backend.health.timeout),
    )


def _backend(spec: ClusterSpec, schedules: Schedules, answer: int, host: str, port: int) -> Backend:
    if spec.protocol == "triton-grpc":
        return TritonGrpc(host, port, spec.name, schedules, answer)
    room = spec.rules.max_in_flight
    limits = PoolLimits(max_connections=room + CHECKING, max_idle=min(64, room), max_body=answer)
    return TritonHttp(HttpPool(host, port, limits, spec.name), spec.name, schedules)
