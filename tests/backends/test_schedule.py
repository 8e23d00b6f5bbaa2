"""What a Triton is told of a question's time and priority, and that nobody else's question is touched."""

from __future__ import annotations

from time import monotonic
from typing import Any

import pytest
from msgspec.structs import replace

from backends.deadline import Deadline
from backends.inference import InferenceRequest, Tensors
from backends.schedule import EXPIRED, Schedule, out_of_time, schedule, scheduled

OVERRIDE = {"allow_timeout_override": True}


@pytest.mark.parametrize(
    ("batching", "expected"),
    [
        (None, None),
        ({}, None),
        ({"priority_levels": 0, "default_queue_policy": {"allow_timeout_override": False}}, None),
        ({"priority_levels": 3}, Schedule(False, 3)),
        ({"default_queue_policy": OVERRIDE}, Schedule(True, 0)),
        ({"priority_levels": "2", "priority_queue_policy": {"1": OVERRIDE}}, Schedule(True, 2)),
        ({"priority_levels": "many"}, None),
        ({"default_queue_policy": [1]}, None),
        ("no batching", None),
    ],
)
def test_what_a_configuration_says(batching: Any, expected: Schedule | None) -> None:
    """A queue that obeys timeouts, or has priorities; of nonsense nothing is believed."""
    assert expected == schedule({} if batching is None else {"dynamic_batching": batching})


def asked(parameters: dict[str, Any], priority: int | None, found: Schedule, seconds: float = 1.0) -> Any:
    """The parameters that a Triton is given."""
    request = InferenceRequest("m", "", "", parameters, (), (), Tensors(()), priority=priority)
    return scheduled(request, {"m": found}, Deadline(monotonic() + seconds)).parameters


def test_the_time_that_remains() -> None:
    """In microseconds; the client's own where that is less, unless it is 0, which is none; at least one when time is up."""
    assert 990_000 < asked({}, None, Schedule(True, 0))["timeout"] <= 1_000_000
    assert {"timeout": 5, "x": 1} == asked({"timeout": 5, "x": 1}, 0, Schedule(True, 0))
    assert 990_000 < asked({"timeout": 0}, None, Schedule(True, 0))["timeout"] <= 1_000_000
    assert 1 == asked({}, None, Schedule(True, 0), -1.0)["timeout"]


@pytest.mark.parametrize(("levels", "expected"), [(1, [1] * 10), (3, [1, 1, 1, 1, 2, 2, 2, 3, 3, 3]), (10, [*range(1, 11)])])
def test_priorities_are_spread_over_the_levels(levels: int, expected: list[int]) -> None:
    """X-Priority 0 is Triton's 1; the client's own parameter goes first, and who says nothing has the model's default."""
    assert expected == [asked({}, priority, Schedule(False, levels))["priority"] for priority in range(10)]
    assert {"priority": 7} == asked({"priority": 7}, 0, Schedule(False, levels))
    assert {} == asked({}, None, Schedule(False, levels))


def test_others_are_not_touched() -> None:
    """A model that obeys nothing is sent the very request."""
    request = InferenceRequest("m", "", "", {}, (), (), Tensors(()), priority=1)
    assert request is scheduled(request, {"other": Schedule(True, 3)}, Deadline(0))
    assert request is scheduled(request, {}, Deadline(0))
    assert replace(request, priority=None) == scheduled(replace(request, priority=None), {"m": Schedule(False, 3)}, Deadline(0))


def test_a_refusal_at_the_deadline_is_the_deadline() -> None:
    """The same words long before it are the model's own limit."""
    soon, later = Deadline(monotonic() + 0.005), Deadline(monotonic() + 5)
    assert [True, False] == [out_of_time(f"[request id: 1] {EXPIRED}", deadline) for deadline in (soon, later)]
    assert not out_of_time("Exceeds maximum queue size", soon)
