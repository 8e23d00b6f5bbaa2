"""The door of a model: closed only where nobody could take the question."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import cast

import pytest

from backends.balance import Balance
from backends.cluster import Cluster
from backends.deadline import Deadline
from backends.endpoint import Endpoint
from backends.errors import ErrorKind, InferenceError
from backends.inference import Backend
from backends.rules import Rules
from gateway.door import OPEN, Door
from routing.principal import Principal

ANN = Principal("ann")
BOB = Principal("bob", scopes=frozenset({"models:priority"}))


def full(room: int = 1) -> Cluster:
    """A cluster all of whose places are taken, after a long time of refusals."""
    endpoint = Endpoint("a", cast("Backend", None))
    made = Cluster("c", [endpoint], Balance("round-robin", lambda: 0.5), Rules(room), lambda *_: None)
    for model in ("m", "n"):
        lane = made.places.lane(model)
        now = monotonic()
        lane.answered(1, 10.0, now)
        lane.concurrency.pace = 10.0
    while made.places.enter(made.places.lane("m")):
        pass
    return made


def check(
    door: Door, headers: Mapping[str, str] | None = None, who: Principal = ANN, timeout: float | None = None
) -> InferenceError:
    with pytest.raises(InferenceError) as caught:
        door.check(who, headers or {}, monotonic(), timeout)
    return caught.value


def test_a_door_without_lanes_is_open() -> None:
    """Where nothing is known nobody is turned away."""
    assert not OPEN.crowded()
    OPEN.check(ANN, {}, 0.0, None)
    Door([], 1.0).check(ANN, {}, 0.0, None)


def test_a_free_place_anywhere_opens_it() -> None:
    """A route that has room might be the request's own."""
    free, taken = full(), full()
    lane = free.places.lane("m")
    door = Door([(taken, "m"), (free, "m")], 1.0)
    assert door.crowded()
    free.places.leave(lane, 1, 0.0, "", Deadline(1e12))
    assert not door.crowded()
    door.check(ANN, {}, monotonic(), None)


def test_who_could_not_be_served_in_time_is_refused_with_what_to_do() -> None:
    """With a reason, and a pause that differs from client to client."""
    error = check(Door([(full(), "m")], 6.0))
    assert (ErrorKind.OVERLOADED, "max-in-flight", 1.5) == (error.kind, error.reason, error.retry_after)
    assert "try again" in error.message


def test_the_routes_and_the_clients_timeouts_tell_how_long_it_may_wait() -> None:
    """Ten seconds for an answer: a sixth of a long time is enough, a sixth of a shorter one is not."""
    place = full(64)
    place.places.lane("m").concurrency.pace = 0.5
    door = Door([(place, "m")], 30.0)
    door.check(ANN, {}, monotonic(), None)
    assert "max-in-flight" != check(door, timeout=2.0).reason
