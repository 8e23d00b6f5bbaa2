"""Where transports meet the policy: what is refused in which order, deadlines, and descriptions under public names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest
from backends.signature import Input, Signature
from gateway.dataplane import Dataplane, Inquiry
from routing.plan import Stage
from routing.principal import Principal

if TYPE_CHECKING:
    from tests.gateway.conftest import Fake

Make = Callable[..., InferenceRequest]
ANN = Principal("ann", scopes=frozenset({"models:infer"}))
STRANGER = Principal("bob", scopes=frozenset({"models:infer:other"}))


def inquiry(principal: Principal = ANN, timeout: float | None = None) -> Inquiry:
    return Inquiry(principal, {}, "r", 100.0, timeout)


def refusal(plane: Dataplane, request: InferenceRequest, asked: Inquiry) -> ErrorKind:
    with pytest.raises(InferenceError) as caught:
        plane.plan(plane.snapshot, request, asked)
    return caught.value.kind


def test_a_misfit_is_refused_after_permission(fake: Fake, make_request: Make) -> None:
    """Unknown model, then permission, then the tensors: a stranger learns nothing of shapes."""
    signature = Signature({"x": Input("FP32", (-1, 2))}, 4)
    plane = Dataplane(fake.snapshot(), {fake.fast: signature})
    wrong = make_request(datatype="INT64")
    assert ErrorKind.NOT_FOUND is refusal(plane, make_request(model="none"), inquiry(STRANGER))
    assert ErrorKind.FORBIDDEN is refusal(plane, wrong, inquiry(STRANGER))
    assert ErrorKind.INVALID is refusal(plane, wrong, inquiry())
    assert ErrorKind.INVALID is refusal(plane, make_request(rows=5), inquiry())
    assert "digits" == plane.plan(plane.snapshot, make_request(rows=4), inquiry()).model


def test_without_a_signature_the_backend_judges(fake: Fake, make_request: Make) -> None:
    """What a model takes may not be known yet."""
    plane = Dataplane(fake.snapshot(), {})
    assert fake.plan is plane.plan(plane.snapshot, make_request(datatype="INT64"), inquiry()).plan


@pytest.mark.parametrize(("timeout", "at"), [(None, 102.0), (0.5, 100.5), (60.0, 102.0)])
def test_the_shorter_timeout_counts(fake: Fake, make_request: Make, timeout: float | None, at: float) -> None:
    """The route's or the client's, from the moment the request came."""
    plane = Dataplane(fake.snapshot(), {})
    assert at == plane.plan(plane.snapshot, make_request(), inquiry(timeout=timeout)).deadline.at


async def test_a_request_stays_with_its_snapshot(fake: Fake, make_request: Make) -> None:
    """It is planned and asked by the one it began with, whatever is in force by then."""
    plane = Dataplane(old := fake.snapshot("old"), {})
    call = plane.plan(old, make_request(), inquiry())
    plane.snapshot = fake.snapshot("new", digits=())
    await plane.ask(old, call)
    assert [call] == fake.calls
    assert fake.plan == call.plan


@pytest.mark.parametrize(("protocol", "stages", "answers"), [("triton-grpc", 1, 2), ("triton-http", 1, 1), ("triton-grpc", 2, 1)])
async def test_streams(fake: Fake, make_request: Make, protocol: str, stages: int, answers: int) -> None:
    """Many answers where one target can give them; a cascade, or a backend of one answer, is asked as usual."""
    fake.protocol = protocol
    fake.plan = replace(fake.plan, stages=(Stage(fake.fast), Stage(fake.dear))[:stages])
    plane = Dataplane(fake.snapshot(), {})
    call = plane.plan(plane.snapshot, make_request(), inquiry())
    assert answers == len([outcome async for outcome in plane.stream(plane.snapshot, call)])
    assert (fake.fast if answers == 2 else None) == fake.calls[0].target


async def test_descriptions_have_the_public_name(fake: Fake) -> None:
    """Of the first variant; statistics of all; with a version of who serves it."""
    plane = Dataplane(fake.snapshot(), {})
    assert "digits" == (await plane.describe("metadata", "digits", "", ANN))["name"]
    stats = await plane.describe("stats", "digits", "", ANN)
    assert [("digits", ""), ("digits", "2")] == [(each["name"], each["version"]) for each in stats["model_stats"]]
    await plane.describe("config", "digits", "2", ANN)
    await plane.describe("config", "digits", "3", ANN)
    assert [("config", "b_dear", "2"), ("config", "b_fast", "3")] == fake.backend.asked[-2:]


async def test_a_version_that_nobody_serves(fake: Fake) -> None:
    """NOT_FOUND without asking, where every variant is pinned to another."""
    plane = Dataplane(fake.snapshot(digits=(fake.dear,)), {})
    with pytest.raises(InferenceError, match="has no version '3'"):
        await plane.describe("metadata", "digits", "3", ANN)
    assert not await plane.ready("digits", "3", ANN)
    assert [] == fake.backend.asked


async def test_descriptions_want_permission(fake: Fake) -> None:
    """They tell shapes: only for those who may ask the model."""
    plane = Dataplane(fake.snapshot(), {})
    asks: list[Any] = [plane.describe("metadata", "digits", "", STRANGER), plane.ready("digits", "", STRANGER)]
    for ask in asks:
        with pytest.raises(InferenceError) as caught:
            await ask
        assert ErrorKind.FORBIDDEN is caught.value.kind
    assert [] == await plane.index(STRANGER)


async def test_ready_is_all_of_it(fake: Fake) -> None:
    """Every variant, or every one that serves the version; a backend that fails is not ready, a defect is not hidden."""
    plane = Dataplane(fake.snapshot(), {})
    assert await plane.ready("digits", "", ANN)
    assert not await plane.ready("digits", "9", ANN)
    fake.backend.known = {"b_fast"}
    assert not await plane.ready("digits", "", ANN)
    assert [{"name": "digits", "version": "", "state": "UNAVAILABLE", "reason": ""}] == await plane.index(ANN)
    fake.backend.failure = RuntimeError("a defect")  # type: ignore[assignment]
    with pytest.raises(RuntimeError):
        await plane.ready("digits", "", ANN)
