"""Where transports meet the policy: what is refused in which order, deadlines, and descriptions under public names."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from backends.inference import Description, InferenceRequest, Tensors, TensorSpec
from backends.signature import Input, Signature
from backends.tensors import Tensor, pack_bytes
from gateway.dataplane import Dataplane, Inquiry
from gateway.snapshot import Model, Snapshot
from routing.conditions import Looks
from routing.match import Question, Versions
from routing.plan import Plan, Stage, Target
from routing.principal import Principal

if TYPE_CHECKING:
    from tests.gateway.conftest import Fake

Make = Callable[..., InferenceRequest]
DESCRIPTIONS: tuple[Description, ...] = ("metadata", "config", "stats")
ANN = Principal("ann", scopes=frozenset({"models:infer"}))
STRANGER = Principal("bob", scopes=frozenset({"models:infer:other"}))


def inquiry(principal: Principal = ANN, timeout: float | None = None) -> Inquiry:
    return Inquiry(principal, {}, "r", 100.0, timeout)


async def refusal(plane: Dataplane, request: InferenceRequest, asked: Inquiry) -> ErrorKind:
    with pytest.raises(InferenceError) as caught:
        await plane.ask(plane.snapshot, plane.plan(plane.snapshot, request, asked))
    return caught.value.kind


async def told(ask: Awaitable[Any]) -> tuple[ErrorKind, str]:
    """How a question fails: kind and reason."""
    with pytest.raises(InferenceError) as caught:
        await ask
    return caught.value.kind, caught.value.reason


async def test_a_misfit_is_refused_after_permission(fake: Fake, make_request: Make) -> None:
    """Unknown model, then permission, then the tensors: a stranger learns nothing of shapes."""
    signature = Signature({"x": Input("FP32", (-1, 2))}, 4)
    plane = Dataplane(fake.snapshot(), {fake.fast: signature})
    wrong = make_request(datatype="INT64")
    assert ErrorKind.NOT_FOUND is await refusal(plane, make_request(model="none"), inquiry(STRANGER))
    assert ErrorKind.FORBIDDEN is await refusal(plane, wrong, inquiry(STRANGER))
    for misfit in (wrong, make_request(rows=5), make_request(rows=0)):
        assert ErrorKind.INVALID is await refusal(plane, misfit, inquiry())
        fake.protocol = "triton-grpc"
        snapshot = fake.snapshot()
        with pytest.raises(InferenceError):
            await anext(plane.stream(snapshot, plane.plan(snapshot, misfit, inquiry())))
    assert [] == fake.calls
    await plane.ask(plane.snapshot, plane.plan(plane.snapshot, make_request(rows=4), inquiry()))
    assert ["digits"] == [call.model for call in fake.calls]


async def test_a_version_s_own_tensors_are_judged_where_there_is_no_other(fake: Fake, make_request: Make) -> None:
    """What is known of an open target holds for the only version it serves, and for no version of several."""
    fake.plan = replace(fake.plan, stages=(Stage(replace(fake.fast, version="1")),))
    wrong = make_request(datatype="INT64", version="1")
    for versions, judged in ((("1",), True), (("1", "2"), False), (("2",), False)):
        plane = Dataplane(fake.snapshot(), {fake.fast: Signature({"x": Input("FP32", (-1, 2))}, 4, (), versions)})
        ask = plane.plan(plane.snapshot, wrong, inquiry())
        if judged:
            with pytest.raises(InferenceError, match="it takes FP32"):
                await plane.ask(plane.snapshot, ask)
        else:
            await plane.ask(plane.snapshot, ask)
    assert 2 == len(fake.calls)


def test_without_a_signature_the_backend_judges(fake: Fake, make_request: Make) -> None:
    """What a model takes may not be known yet."""
    plane = Dataplane(fake.snapshot(), {})
    assert fake.plan is plane.plan(plane.snapshot, make_request(datatype="INT64"), inquiry()).plan


@pytest.mark.parametrize(("timeout", "at"), [(None, 102.0), (0.5, 100.5), (60.0, 102.0)])
def test_the_shorter_timeout_counts(fake: Fake, make_request: Make, timeout: float | None, at: float) -> None:
    """The route's or the client's, from the moment the request came."""
    plane = Dataplane(fake.snapshot(), {})
    assert at == plane.plan(plane.snapshot, make_request(), inquiry(timeout=timeout)).deadline.at


def test_the_priority_goes_with_the_request(fake: Fake, make_request: Make) -> None:
    """Whatever the routes look at, as far as the client may say it; without one, or with something else, there is none."""
    plane, request = Dataplane(fake.snapshot(), {}), make_request()
    assert request is plane.plan(plane.snapshot, request, inquiry()).request
    asked = Inquiry(ANN, {"x-priority": "7"}, "r", 100.0, None)
    assert 7 == plane.plan(plane.snapshot, request, asked).request.priority
    assert 5 == plane.plan(plane.snapshot, request, replace(asked, headers={"x-priority": "3"})).request.priority
    assert request is plane.plan(plane.snapshot, request, replace(asked, headers={"x-priority": "10"})).request


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
    """NOT_FOUND without asking, where every variant is pinned to another; readiness says the same."""
    plane = Dataplane(fake.snapshot(digits=(fake.dear,)), {})
    for what in DESCRIPTIONS:
        assert (ErrorKind.NOT_FOUND, "version") == await told(plane.describe(what, "digits", "3", ANN))
    assert (ErrorKind.NOT_FOUND, "version") == await told(plane.ready("digits", "3", ANN))
    assert [] == fake.backend.asked


@pytest.mark.parametrize("kind", [ErrorKind.NOT_FOUND, ErrorKind.INVALID])
async def test_a_version_that_the_backend_has_not(fake: Fake, make_request: Make, kind: ErrorKind) -> None:
    """NOT_FOUND in our own words, whatever is asked and however the backend says so; the policy's own version is our outage."""
    plane = Dataplane(fake.snapshot(), {})
    fake.backend.failure = InferenceError(kind, "[request id: x] no version for 'b_fast'")
    for what in DESCRIPTIONS:
        assert (ErrorKind.NOT_FOUND, "version") == await told(plane.describe(what, "digits", "3", ANN))
        assert (ErrorKind.UNAVAILABLE, "not-loaded") == await told(plane.describe(what, "digits", "2", ANN))
    fake.backend.unready = True
    assert (ErrorKind.NOT_FOUND, "version") == await told(plane.ready("digits", "3", ANN))
    assert not await plane.ready("digits", "2", ANN)
    fake.failure = InferenceError(ErrorKind.NOT_FOUND, "no version for 'b_fast'")
    call = plane.plan(plane.snapshot, make_request(version="3"), inquiry())
    assert (ErrorKind.NOT_FOUND, "version") == await told(plane.ask(plane.snapshot, call))
    fake.protocol = "triton-grpc"
    assert (ErrorKind.NOT_FOUND, "version") == await told(anext(plane.stream(fake.snapshot(), call)))


async def test_a_version_is_looked_for_at_every_variant_that_leaves_it_open(fake: Fake) -> None:
    """One that has it describes it, though the first has not."""
    other = Target("other", "triton", "b_other")
    fake.backend.known = {"b_other"}
    plane = Dataplane(fake.snapshot(digits=(fake.fast, other)), {})
    assert "digits" == (await plane.describe("config", "digits", "3", ANN))["name"]
    assert ["3"] == [each["version"] for each in (await plane.describe("stats", "digits", "3", ANN))["model_stats"]]
    assert await plane.ready("digits", "3", ANN)
    assert (ErrorKind.UNAVAILABLE, "not-loaded") == await told(plane.describe("config", "digits", "", ANN))


@pytest.mark.parametrize("version", ["abc", "-1", "+1", "0", "01", "1.0", "1" * 19, "../1", "\u0661"])
async def test_what_is_no_version(fake: Fake, make_request: Make, version: str) -> None:
    """INVALID before any backend is asked, whatever is asked; a word that the policy itself pins is a version."""
    plane = Dataplane(fake.snapshot(), {})
    for what in DESCRIPTIONS:
        assert (ErrorKind.INVALID, "version") == await told(plane.describe(what, "digits", version, ANN))
    assert (ErrorKind.INVALID, "version") == await told(plane.ready("digits", version, ANN))
    assert ErrorKind.INVALID is await refusal(plane, make_request(version=version), inquiry())
    assert [] == fake.backend.asked
    plane.snapshot = fake.snapshot(digits=(replace(fake.dear, version=version),))
    assert [version] == (await plane.describe("metadata", "digits", version, ANN))["versions"]
    assert version == plane.plan(plane.snapshot, make_request(version=version), inquiry()).request.version


async def test_versions_are_those_of_all_variants(fake: Fake) -> None:
    """In the policy's order, each once: what variants are pinned to, and what backends serve where a variant leaves it open."""
    other, unknown = Target("other", "triton", "b_other"), Target("unknown", "triton", "b_unknown")
    plane = Dataplane(fake.snapshot(digits=(fake.fast, fake.dear, other, unknown)), {other: Signature({}, 0, (), ("1", "5"))})
    fake.backend.versions = ["1", "3"]
    assert ["1", "3", "2", "5"] == (await plane.describe("metadata", "digits", "", ANN))["versions"]
    assert ["1", "3", "2", "5"] == (await plane.describe("metadata", "digits", "3", ANN))["versions"]


async def test_statistics_of_all_models(fake: Fake) -> None:
    """Those that the principal may ask, under their public names; a model that nobody can tell of is left out."""
    plane = Dataplane(fake.snapshot(digits=(fake.fast,), other=(fake.dear,), gone=(Target("x", "triton", "none"),)), {})
    assert ["digits", "other"] == [each["name"] for each in (await plane.describe("stats", "", "", ANN))["model_stats"]]
    assert ["other"] == [each["name"] for each in (await plane.describe("stats", "", "", STRANGER))["model_stats"]]


async def test_a_failure_ends_what_runs_beside_it(fake: Fake) -> None:
    """Nobody's question goes on after the answer is known to be an error, and the error is the backend's own, not a group."""
    left = asyncio.Event()
    fake.backend.hangs["b_dear"] = left
    fake.backend.known = {"b_dear"}
    fake.backend.failures["b_fast"] = InferenceError(ErrorKind.BROKEN, "sick")
    plane = Dataplane(fake.snapshot(), {})
    assert (ErrorKind.BROKEN, "broken") == await told(plane.describe("stats", "digits", "", ANN))
    assert left.is_set()


async def test_the_only_answer_in_a_stream_is_marked_as_the_last(fake: Fake, make_request: Make) -> None:
    """What asks for a mark stays here, where Triton would refuse it; a stream's own answers say themselves which is the last."""
    plane = Dataplane(fake.snapshot(), {})
    asked = {"triton_enable_empty_final_response": True, "note": "x"}
    call = plane.plan(plane.snapshot, make_request(parameters=asked), inquiry())
    (outcome,) = [each async for each in plane.stream(plane.snapshot, call)]
    assert {"triton_final_response": True} == outcome.answer.response.parameters
    assert {"note": "x"} == fake.calls[0].request.parameters
    fake.protocol = "triton-grpc"
    streamed = [each async for each in plane.stream(fake.snapshot(), call)]
    assert [{}, {}] == [each.answer.response.parameters for each in streamed]
    assert asked == fake.calls[1].request.parameters


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


def changed(snapshot: Snapshot, **fields: Any) -> Snapshot:
    """The snapshot with these fields of its model `digits`."""
    model: Model = dataclasses.replace(snapshot.models["digits"], **fields)
    return dataclasses.replace(snapshot, models={**snapshot.models, "digits": model})


def aliased(fake: Fake) -> Dataplane:
    return Dataplane(dataclasses.replace(fake.snapshot(), aliases={"mnist": "digits"}), {})


async def test_an_alias_is_its_model(fake: Fake, make_request: Make) -> None:
    """Who may ask the model may ask it by its alias; the call is the model's, descriptions have the name that was asked for."""
    plane, mine = aliased(fake), Principal("ann", scopes=frozenset({"models:infer:digits"}))
    assert "digits" == plane.plan(plane.snapshot, make_request(model="mnist"), inquiry(mine)).model
    assert await plane.ready("mnist", "", mine)
    assert "mnist" == (await plane.describe("metadata", "mnist", "", mine))["name"]
    stats = (await plane.describe("stats", "mnist", "", mine))["model_stats"]
    assert {"mnist"} == {entry["name"] for entry in stats}


async def test_the_alias_itself_is_no_scope(fake: Fake, make_request: Make) -> None:
    """A permission names the model; one for the alias's own name opens nothing."""
    plane, other = aliased(fake), Principal("bob", scopes=frozenset({"models:infer:mnist"}))
    assert ErrorKind.FORBIDDEN is await refusal(plane, make_request(model="mnist"), inquiry(other))
    for ask in (plane.ready("mnist", "", other), plane.describe("config", "mnist", "", other)):
        assert ErrorKind.FORBIDDEN is (await told(ask))[0]


async def test_the_index_lists_aliases(fake: Fake) -> None:
    """Behind the models, for who may ask those, in their state."""
    plane = aliased(fake)
    assert [("digits", "READY"), ("mnist", "READY")] == [(each["name"], each["state"]) for each in await plane.index(ANN)]
    fake.backend.unready = True
    assert ["UNAVAILABLE"] * 2 == [each["state"] for each in await plane.index(ANN)]
    assert [] == await plane.index(STRANGER)
    everything = await plane.describe("stats", "", "", ANN)
    assert {"digits"} == {entry["name"] for entry in everything["model_stats"]}


def keeping(fake: Fake, versions: Versions, *told: str) -> Dataplane:
    """A data plane whose model keeps versions back; its open variant's backend has told of these."""
    fake.plan = replace(fake.plan, stages=(Stage(replace(fake.fast, version="1")),))
    return Dataplane(changed(fake.snapshot(), versions=versions), {fake.fast: Signature({}, 0, (), told)} if told else {})


@pytest.mark.parametrize("versions", [Versions(frozenset({"2", "3"})), Versions(latest=2)])
async def test_a_version_that_the_policy_keeps_back(fake: Fake, make_request: Make, versions: Versions) -> None:
    """It is not there, whatever is asked and though its backend has it, and nobody is asked."""
    plane = keeping(fake, versions, "1", "3", "4")
    for what in DESCRIPTIONS:
        assert (ErrorKind.NOT_FOUND, "version") == await told(plane.describe(what, "digits", "1", ANN))
    assert (ErrorKind.NOT_FOUND, "version") == await told(plane.ready("digits", "1", ANN))
    with pytest.raises(InferenceError, match="model 'digits' has no version '1'"):
        plane.plan(plane.snapshot, make_request(version="1"), inquiry())
    assert [] == fake.backend.asked
    assert await plane.ready("digits", "3", ANN)


async def test_versions_that_are_offered(fake: Fake) -> None:
    """Metadata lists no other ones; those to which the policy itself pins a variant are always among them."""
    plane = keeping(fake, Versions(latest=1))
    fake.backend.versions = ["1", "3", "4"]
    assert ["4", "2"] == (await plane.describe("metadata", "digits", "", ANN))["versions"]
    assert await plane.ready("digits", "2", ANN)


async def test_versions_that_nobody_knows_yet(fake: Fake, make_request: Make) -> None:
    """Whether one is among the latest cannot be told: try again; a question without a version is answered."""
    plane = keeping(fake, Versions(latest=1))
    for ask in (plane.ready("digits", "1", ANN), plane.describe("config", "digits", "1", ANN)):
        assert (ErrorKind.UNAVAILABLE, "not-ready") == await told(ask)
    with pytest.raises(InferenceError, match="not known yet"):
        plane.plan(plane.snapshot, make_request(version="1"), inquiry())
    assert fake.plan is plane.plan(plane.snapshot, make_request(), inquiry()).plan


async def test_routing_sees_what_the_model_looks_at(fake: Fake, make_request: Make) -> None:
    """And no more than that: where nothing is looked at, the tensors stay as they came."""
    seen: list[Question] = []

    def plan(question: Question) -> Plan:
        seen.append(question)
        return fake.plan

    class Unread:
        def tensors(self) -> tuple[Tensor, ...]:
            raise AssertionError("looked at")

    text = Tensor("t", "BYTES", (1,), pack_bytes([b"abc"]))
    request = replace(make_request(), inputs=(TensorSpec("t", "BYTES", (1,)),), payload=Tensors((text,)))
    plane = Dataplane(changed(fake.snapshot(), plan=plan), {})
    assert not plane.takes_long(plane.snapshot, request)
    plane.plan(plane.snapshot, replace(request, payload=Unread()), inquiry())
    looking = changed(plane.snapshot, looks=Looks(True, True, frozenset("t")))
    assert plane.takes_long(looking, request)
    plane.plan(looking, request, Inquiry(ANN, {"x-priority": "4"}, "r", 100.0, None))
    assert [(None, 0, {}), (4, 7, {"t": 3})] == [(each.priority, each.size, each.text_lengths) for each in seen]
