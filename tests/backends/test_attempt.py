"""Every attempt is counted while it lasts, and its ending told once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from backends.attempt import Attempt
from backends.deadline import Deadline
from backends.endpoint import PLAIN
from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, Tensors
from backends.rules import Rules

if TYPE_CHECKING:
    from tests.backends.conftest import Set

Make = Callable[..., "Set"]
REQUEST = InferenceRequest("m", "", "", {}, (), (), Tensors(()))


def attempt(found: Set, seconds: float = 60.0) -> Attempt:
    return Attempt(found.cluster, found.cluster.endpoints[0], PLAIN, REQUEST, Deadline(monotonic() + seconds))


async def test_an_answer(scripted: Make) -> None:
    """In flight while it lasts, ok after."""
    found = scripted(Rules(), "a")
    with attempt(found):
        assert 1 == found.cluster.endpoints[0].in_flight
    assert ([("a", "ok")], 1, True) == (found.told, found.cluster.endpoints[0].answers, found.idle())


@pytest.mark.parametrize("kind", list(ErrorKind))
async def test_a_failure(scripted: Make, kind: ErrorKind) -> None:
    """By the error's kind; what counts against the endpoint is the endpoint's own business."""
    found = scripted(Rules(), "a")
    with pytest.raises(InferenceError), attempt(found):
        raise InferenceError(kind, "no")
    assert [("a", kind.value)] == found.told
    assert found.idle()


@pytest.mark.parametrize(("seconds", "outcome"), [(60.0, "abandoned"), (-1.0, "deadline")])
async def test_whoever_left(scripted: Make, seconds: float, outcome: str) -> None:
    """Before the deadline the client, at the deadline the gateway; neither counts against the endpoint."""
    found = scripted(Rules(), "a")
    with pytest.raises(asyncio.CancelledError), attempt(found, seconds):
        raise asyncio.CancelledError
    assert [("a", outcome)] == found.told
    assert found.cluster.endpoints[0].sound


async def test_elsewhere(scripted: Make) -> None:
    """Another attempt at the same question goes where none was, and there is none where all have been tried."""
    found = scripted(Rules(), "a", "b")
    first = attempt(found)
    second = first.elsewhere("late")
    assert ("b", first.deadline, ["late"]) == (second.endpoint.address, second.deadline, found.repeats)
    with pytest.raises(InferenceError) as caught:
        first.elsewhere("late")
    assert ErrorKind.UNAVAILABLE is caught.value.kind


async def test_whoever_asks_knows_what_was_sent(scripted: Make) -> None:
    """The moment of each attempt, but for those that the endpoint refused: these have cost nobody anything."""
    found, sent = scripted(Rules(), "a"), list[float]()

    def begin() -> Attempt:
        request = replace(REQUEST, sent=sent)
        return Attempt(found.cluster, found.cluster.endpoints[0], PLAIN, request, Deadline(monotonic() + 60))

    before = monotonic()
    with begin():
        assert 1 == len(sent)
    for ending in (asyncio.CancelledError(), InferenceError(ErrorKind.DEADLINE, "late"), InferenceError(ErrorKind.BROKEN, "no")):
        with pytest.raises(type(ending)), begin():
            raise ending
    assert 3 == len(sent)
    assert sorted(sent) == sent
    assert before <= sent[0] <= sent[-1] <= monotonic()
