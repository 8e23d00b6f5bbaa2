"""Turns a checked policy document into the snapshot that requests read; what did not change is taken over as it runs."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from backends.balance import Balance
from backends.checks import CHECKING
from backends.cluster import Cluster, Sent
from backends.endpoint import Endpoint
from backends.http1.pool import HttpPool, PoolLimits
from backends.inference import Backend
from backends.rules import Checks, Ejection, Hedge, Retry, Rules
from backends.triton_grpc import TritonGrpc
from backends.triton_http import TritonHttp
from gateway.configuration import schema_policy
from gateway.configuration.load import load_policy, version
from gateway.configuration.schema_policy import PolicyDocument
from gateway.configuration.tables import route_tables
from gateway.review.trial import refuse_failures
from gateway.snapshot import ClusterSpec, Model, Snapshot
from gateway.telemetry.metrics import Metrics
from policies.authorize import AuthorizePolicy
from policies.call import Policy
from policies.cascade import CascadePolicy
from policies.deadline import DeadlinePolicy
from policies.fallback import FallbackPolicy
from policies.onion import core, onion
from policies.stream import streaming
from routing.conditions import Looks, looks, together
from routing.match import RouteTable
from routing.plan import Target
from routing.planner import Planner, planner
from routing.sampling import Sampling, sampling
from routing.targets import targets


@dataclass(frozen=True, slots=True)
class Routing:
    """One model's table, made ready for requests."""

    plan: Planner
    targets: tuple[Target, ...]
    looks: Looks | None
    sampling: Sampling | None


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A policy document in routing's own values: what compiling needs, and nothing of YAML.

    `routings` are made of the tables here already, because for thousands of routes that takes too long for the event loop.
    """

    version: str
    clusters: tuple[ClusterSpec, ...]
    tables: Mapping[str, RouteTable]
    aliases: Mapping[str, str]
    routings: Mapping[str, Routing] = field(compare=False)


def blueprint(text: bytes, name: str) -> Blueprint:
    """The checked document of a policy file's bytes; `name` is the file's, for messages. Raises PolicyError."""
    return drawn(load_policy(text, name), text, name)


def drawn(document: PolicyDocument, text: bytes, name: str) -> Blueprint:
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
    routings = {name: _routing(table) for name, table in tables.items()}
    return Blueprint(version(text), clusters, tables, document.aliases, routings)


def _routing(table: RouteTable) -> Routing:
    looked = together(*(looks(route.match) for route in table.routes)) or None
    return Routing(planner(table), targets(table), looked, sampling(table))


def compile_snapshot(blueprint: Blueprint, previous: Snapshot | None, metrics: Metrics, clock: Callable[[], float]) -> Snapshot:
    """The snapshot. A cluster whose spec is unchanged is the previous one itself: pools and counts live on."""
    clusters: dict[str, Cluster] = {}
    for spec in blueprint.clusters:
        unchanged = previous is not None and previous.specs.get(spec.name) == spec
        made = previous.clusters[spec.name] if previous and unchanged else cluster(spec, metrics.sent)
        made.repeated = metrics.repeated
        clusters[spec.name] = made
    always: dict[str, Policy] = {
        "deadline": DeadlinePolicy(),
        "authorize": AuthorizePolicy(),
        "cascade": CascadePolicy(metrics, clock),
    }
    innermost = core(clusters, metrics, clock)
    plain, falling_back = onion(always, innermost), onion({**always, "fallback": FallbackPolicy(metrics, clock)}, innermost)
    stream = streaming(clusters, metrics, clock)
    models = {
        name: Model(
            name,
            routing.plan,
            falling_back if blueprint.tables[name].fallback else plain,
            stream,
            routing.targets,
            routing.looks,
            blueprint.tables[name].versions,
            routing.sampling,
        )
        for name, routing in blueprint.routings.items()
    }
    specs = {spec.name: spec for spec in blueprint.clusters}
    return Snapshot(blueprint.version, models, clusters, specs, blueprint.aliases)


def cluster(spec: ClusterSpec, sent: Sent) -> Cluster:
    """A fresh cluster; it connects when first asked."""
    ejection = spec.rules.breaker
    endpoints = [Endpoint(f"{host}:{port}", _backend(spec, host, port), ejection) for host, port in spec.endpoints]
    return Cluster(spec.name, endpoints, Balance(spec.balance, random.random), spec.rules, sent)


def _rules(backend: schema_policy.Backend) -> Rules:
    retry, hedge = backend.retry, backend.hedge
    return Rules(
        backend.max_in_flight,
        None if retry is None else Retry(retry.attempts, retry.budget),
        None if hedge is None else Hedge(hedge.after, hedge.budget),
        Ejection(backend.breaker.failures, backend.breaker.open),
        Checks(backend.health.interval, backend.health.timeout),
    )


def _backend(spec: ClusterSpec, host: str, port: int) -> Backend:
    if spec.protocol == "triton-grpc":
        return TritonGrpc(host, port, spec.name)
    room = spec.rules.max_in_flight
    limits = PoolLimits(max_connections=room + CHECKING, max_idle=min(64, room))
    return TritonHttp(HttpPool(host, port, limits, spec.name), spec.name)
