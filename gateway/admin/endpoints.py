"""What operators are told of the backends' endpoints, by one process or by several, and what they have taken out of use."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec

from backends.cluster import Cluster
from backends.endpoint import Endpoint
from gateway.health import asked_of
from gateway.snapshot import Snapshot

HEALTH = ("ok", "not-ready", "failing")  # of a model, and
BREAKER = ("closed", "half-open", "open")  # of a server: from good to bad


class Drained(msgspec.Struct, frozen=True):
    """What operators want no new questions to go to: this gateway as a whole, and endpoints by backend and address."""

    gateway: bool = False
    endpoints: frozenset[tuple[str, str]] = frozenset()

    def apply(self, clusters: Mapping[str, Cluster]) -> None:
        """Sees to it, in clusters that may be new."""
        now = time.monotonic()
        for name, cluster in clusters.items():
            for endpoint in cluster.endpoints:
                endpoint.drain((name, endpoint.address) in self.endpoints, now)


class LastFailure(msgspec.Struct, frozen=True, order=True):
    """When a question failed there last, and how."""

    time: str
    kind: str


class EndpointState(msgspec.Struct, frozen=True):
    """One endpoint. `up`: it answers its checks; `models`: the policy's, each with its HEALTH; `weight`: of its share, 0 to 1."""

    backend: str
    endpoint: str
    up: bool
    drained: bool
    breaker: str
    in_flight: int
    weight: float
    models: dict[str, str]
    last_failure: LastFailure | None


def states(snapshot: Snapshot) -> list[EndpointState]:
    """Every endpoint of the policy in force, as this process sees it."""
    return [
        _state(name, endpoint, sorted(asked_of(snapshot, cluster)))
        for name, cluster in snapshot.clusters.items()
        for endpoint in cluster.endpoints
    ]


def _state(backend: str, endpoint: Endpoint, models: Iterable[tuple[str, str]]) -> EndpointState:
    now, failure = time.monotonic(), endpoint.last_failure
    return EndpointState(
        backend,
        endpoint.address,
        endpoint.up,
        endpoint.drained,
        endpoint.breaker.value,
        endpoint.in_flight,
        round(endpoint.weight(now), 3),
        {f"{model}/{version}" if version else model: endpoint.health((model, version)) for model, version in models},
        None if failure is None else LastFailure(_time(now - failure[0]), failure[1]),
    )


def _time(ago: float) -> str:
    return datetime.fromtimestamp(time.time() - ago, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def merged(told: Iterable[Iterable[EndpointState]]) -> list[EndpointState]:
    """What several processes say, as one: questions add up, and of all else the worst, or the latest, counts."""
    found: dict[tuple[str, str], EndpointState] = {}
    for state in (state for each in told for state in each):
        key = (state.backend, state.endpoint)
        found[key] = _both(found[key], state) if key in found else state
    return list(found.values())


def _both(one: EndpointState, other: EndpointState) -> EndpointState:
    failures = [each for each in (one.last_failure, other.last_failure) if each is not None]
    names = one.models | other.models
    return EndpointState(
        one.backend,
        one.endpoint,
        one.up and other.up,
        one.drained and other.drained,
        max(one.breaker, other.breaker, key=BREAKER.index),
        one.in_flight + other.in_flight,
        min(one.weight, other.weight),
        {name: max(one.models.get(name, "ok"), other.models.get(name, "ok"), key=HEALTH.index) for name in names},
        max(failures, default=None),
    )
