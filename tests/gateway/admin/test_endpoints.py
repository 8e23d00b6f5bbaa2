"""What is told of endpoints, and how several processes' words become one."""

from __future__ import annotations

import random
import time
from datetime import datetime

import msgspec

from backends.balance import Balance
from backends.cluster import Cluster
from backends.endpoint import Endpoint
from backends.errors import ErrorKind
from backends.rules import Ejection, Rules
from gateway.admin.endpoints import Drained, EndpointState, LastFailure, merged, states
from gateway.snapshot import Snapshot

GOOD = EndpointState("b", "h:1", True, False, "closed", 1, 1.0, {"x": "ok"}, None)


def cluster(name: str, *addresses: str) -> Cluster:
    """Endpoints that nobody asks."""
    endpoints = [Endpoint(address, None, Ejection(failures=1)) for address in addresses]  # type: ignore[arg-type]
    return Cluster(name, endpoints, Balance("round-robin", random.random), Rules(), lambda *_: None)


def test_what_one_process_tells() -> None:
    """As its endpoints are; times are those of the day."""
    made = cluster("b", "h:1", "h:2")
    failing = made.endpoints[0]
    failing.failed(("x", ""), 0, ErrorKind.UNAVAILABLE, time.monotonic())
    failing.in_flight = 3
    first, second = states(Snapshot("v", {}, {"b": made}, {}))
    assert ("h:1", "open", 3) == (first.endpoint, first.breaker, first.in_flight)
    assert first.last_failure is not None
    assert "unavailable" == first.last_failure.kind
    assert abs(time.time() - msgspec.convert(first.last_failure.time, type=datetime).timestamp()) < 5
    assert EndpointState("b", "h:2", True, False, "closed", 0, 1.0, {}, None) == second


def test_what_is_drained_is_so_in_every_cluster() -> None:
    """By its name and address; what is wanted again is used."""
    clusters = {"a": cluster("a", "h:1", "h:2"), "b": cluster("b", "h:1")}
    Drained(False, frozenset({("a", "h:2"), ("b", "h:9")})).apply(clusters)
    assert [False, True, False] == [each.drained for made in clusters.values() for each in made.endpoints]
    Drained().apply(clusters)
    assert {False} == {each.drained for made in clusters.values() for each in made.endpoints}


def test_several_words_become_one() -> None:
    """Questions add up; of all else the worst is said, and the failure that was last."""
    early, late = LastFailure("2026-01-01T00:00:00.000Z", "broken"), LastFailure("2026-01-02T00:00:00.000Z", "deadline")
    bad = EndpointState("b", "h:1", False, True, "half-open", 2, 0.1, {"x": "not-ready", "y": "failing"}, early)
    other = EndpointState("b", "h:2", True, False, "closed", 0, 1.0, {}, None)
    last = msgspec.structs.replace(GOOD, last_failure=late, drained=True)
    assert [
        EndpointState("b", "h:1", False, False, "half-open", 4, 0.1, {"x": "not-ready", "y": "failing"}, late),
        other,
    ] == merged([[GOOD, other], [bad], [last]])
    assert [] == merged([])
