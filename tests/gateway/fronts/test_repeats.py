"""Questions that come again: found only where they are the same, and within a bound."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from itertools import count
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.deadline import Deadline
from backends.inference import InferenceRequest, InferenceResponse, Tensors
from backends.protocols.v2_http_request import HttpQuestion, decode_request
from backends.tensors import from_array
from gateway.compile import Blueprint, blueprint, compile_snapshot, lasting
from gateway.dataplane import Dataplane
from gateway.edge.messages import HttpResponse, RequestHead
from gateway.fronts.http import HttpFront
from gateway.fronts.parts import FrontParts
from gateway.fronts.repeats import LONGEST, Place, Repeat, Repeats, place
from gateway.telemetry.metrics import Metrics
from routing.caching import Purge
from routing.principal import Principal
from tests.gateway.fronts.conftest import Doors

ANN = Principal("ann", "acme")
BODY = b'{"id":"a","inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}'
ANSWER = InferenceResponse("digits", "1", "", {}, Tensors(()))


def question(body: bytes = BODY) -> InferenceRequest:
    return decode_request(body, None, "digits", "7", (("x-request-id", "r"),))


def test_only_the_same_question_of_the_same_principal_is_found() -> None:
    """Another subject, tenant, model, length of the head or byte is another question."""
    repeats = Repeats()
    at = place(ANN, "digits", None, BODY)
    kept = repeats.keep(at, question(), 0)
    assert kept is not None
    assert kept is repeats.find(place(Principal("ann", "acme", "gold"), "digits", None, bytes(bytearray(BODY))))
    others = [
        place(Principal("bob", "acme"), "digits", None, BODY),
        place(Principal("ann"), "digits", None, BODY),
        place(Principal("acme", "ann"), "digits", None, BODY),
        place(ANN, "letters", None, BODY),
        place(ANN, "digits", "40", BODY),
        *(place(ANN, "digits", None, BODY[:index] + bytes([BODY[index] ^ 1]) + BODY[index + 1 :]) for index in range(len(BODY))),
    ]
    assert {None} == {repeats.find(other) for other in others}


def test_it_is_asked_as_it_comes_now() -> None:
    """Version and headers are the request's own; the tensors are those that were read, and are known to come again."""
    asked = question()
    kept = Repeats().keep(place(ANN, "digits", None, BODY), asked, 0)
    assert kept is not None
    again = kept.again("3", (("x-request-id", "s"),))
    assert ("3", (("x-request-id", "s"),), "a") == (again.version, again.headers, again.id)
    assert again.payload is asked.payload
    assert ("", ()) == (kept.request.version, kept.request.headers)
    assert isinstance(again.payload, HttpQuestion)
    assert {} == again.payload.derived


def test_there_is_a_bound() -> None:
    """Beyond it all is forgotten; what is long is not kept at all, nor is a long answer."""
    repeats = Repeats(room=10_000)
    places = [place(ANN, "digits", None, b'{"n":%d}' % number) for number in range(9)]
    for at in places:
        assert repeats.keep(at, question(), 0) is not None
    assert 0 < len([at for at in places if repeats.find(at)]) < 5
    assert repeats.find(places[-1]) is not None
    assert repeats.keep(place(ANN, "digits", None, b"x" * (LONGEST + 1)), question(), 0) is None
    kept = repeats.find(places[-1])
    assert kept is not None
    repeats.write(kept, ANSWER, (b"x" * (LONGEST + 1), ()))
    assert b"" == kept.written[0]
    repeats.write(kept, ANSWER, (b"short", ()))
    assert b"short" == kept.written[0]
    assert kept.response is ANSWER
    for _ in range(3):  # an answer in place of another takes the difference
        repeats.write(kept, ANSWER, (b"x" * 3000, ()))
    assert repeats.find(places[-1]) is kept
    repeats.write(kept, ANSWER, (b"x" * 12_000, ()))
    assert repeats.find(places[-1]) is None


def test_rows_that_are_kept_apart_take_room_of_their_own() -> None:
    """Else a few large batches would hold more than the bound."""
    repeats = Repeats(room=10_000)
    assert repeats.keep(place(ANN, "digits", None, b"1"), question(), 1)
    assert repeats.keep(place(ANN, "digits", None, b"2"), question(), 9)
    assert repeats.find(place(ANN, "digits", None, b"1")) is None


POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:1"]}}
aliases: {numbers: digits}
models:
  digits:
    cache: {ttl: 1h}
    variants: {fast: {backend: triton, model: fast}, dear: {backend: triton, model: dear}}
    routes:
      - {name: odd, match: {header: {x-odd: "1"}}, use: dear}
      - {name: default, use: fast}
"""
POLICIES = [
    blueprint(text.encode(), "policy.yaml")
    for text in (
        POLICY,
        POLICY.replace("{ttl: 1h}", "{ttl: 1h, rows: true}"),
        POLICY.replace("{ttl: 1h}", "{ttl: 1h, shared: true}"),
        POLICY.replace("{name: default, use: fast}", "{name: default, use: dear}"),
    )
]
TENSOR = np.arange(4, dtype="<f4").reshape(2, 2)


def body(number: int, binary: bool, **more: Any) -> tuple[bytes, str | None]:
    """A question about two rows, and its header's length."""
    entry: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": [2, 2]}
    tensor = TENSOR + number
    if not binary:
        return json.dumps({"inputs": [{**entry, "data": tensor.ravel().tolist()}], **more}).encode(), None
    head = json.dumps({"inputs": [{**entry, "parameters": {"binary_data_size": 16}}], **more}).encode()
    return head + tensor.tobytes(), str(len(head))


BODIES = [
    body(number, binary, **more)
    for number in (0, 1)
    for binary in (False, True)
    for more in (
        {},
        {"id": "a"},
        {"parameters": {"seed": 1}},
        {"parameters": {"seed": True, "binary_data_output": True}},
        {"outputs": [{"name": "y", "parameters": {"binary_data": True}}]},
    )
]
HEADERS: list[dict[str, str]] = [
    {},
    {"x-odd": "1"},
    {"x-model-version": "1"},
    {"cache-control": "no-cache"},
    {"cache-control": "no-store"},
    {"x-priority": "9"},
]
REQUESTS = st.tuples(
    st.sampled_from(BODIES), st.sampled_from(("ann", "bob", "")), st.sampled_from(("digits", "numbers")), st.sampled_from(HEADERS)
)
EVENTS = st.one_of(REQUESTS, REQUESTS, REQUESTS, st.sampled_from((0, 1, 2, 3, "purge")))  # the number of a policy


class Telling:
    """A backend whose answer says all that it was asked, row by row, and how often the same was asked."""

    def __init__(self) -> None:
        self.turns = count()

    async def infer(self, request: InferenceRequest, deadline: Deadline) -> InferenceResponse:
        (x,) = request.payload.tensors()
        said = repr((request.model, request.version, sorted(request.parameters.items())))
        known = int.from_bytes(hashlib.sha256(said.encode()).digest()[:4], "little")
        told = np.stack([x.array().sum(axis=1), np.full(len(x.array()), known), np.full(len(x.array()), next(self.turns))], 1)
        return InferenceResponse(request.model, "1", "", {}, Tensors((from_array("y", "FP64", told),)))


class Forgetful(Repeats):
    """The long way, each time."""

    def find(self, at: Place) -> Repeat | None:
        return None


class Gateway:
    """A front over a data plane of its own."""

    def __init__(self, repeats: Repeats) -> None:
        self.lasting, self.backend = lasting(time.monotonic), Telling()
        self.plane = Dataplane(compile_snapshot(POLICIES[0], None, Metrics(), time.monotonic, self.lasting), {})
        self.take(POLICIES[0])
        ids = count()
        self.front = HttpFront(FrontParts(self.plane, Doors(), lambda _: None, lambda: f"{next(ids)}", lambda: True, 1 << 16))
        self.front._repeats = repeats

    def take(self, policy: Blueprint) -> None:
        self.plane.snapshot = compile_snapshot(policy, self.plane.snapshot, Metrics(), time.monotonic, self.lasting)
        for endpoint in self.plane.snapshot.clusters["triton"].endpoints:
            endpoint.backend = self.backend  # type: ignore[assignment]

    async def answer(self, request: tuple[Any, ...]) -> tuple[int, dict[str, str], bytes]:
        (content, length), who, model, more = request
        headers = {"authorization": who, **more, **({} if length is None else {"inference-header-content-length": length})}
        verdict = self.front.admit(RequestHead("POST", f"/v2/models/{model}/infer", "", headers, "", time.monotonic()))
        response = verdict if isinstance(verdict, HttpResponse) else await verdict(content)
        told = {name: value for name, value in (*response.headers, *response.fixed) if name != "server-timing"}
        told["cache-status"] = told.get("cache-status", "").partition("; ttl")[0]
        return response.status, told, bytes(response.body)


async def test_a_question_is_remembered_from_its_first_hit_on() -> None:
    """Else the next test would compare the long way with itself."""
    gateway, (content, length) = Gateway(Repeats()), BODIES[0]
    at, found = place(Principal("ann", "acme"), "digits", length, content), []
    for _ in range(3):
        await gateway.answer((BODIES[0], "ann", "digits", {}))
        found.append(gateway.front._repeats.find(at) is not None)
    assert [False, True, True] == found
    await gateway.lasting.spawner.close()


@settings(deadline=None, max_examples=40)
@given(st.lists(EVENTS, min_size=8, max_size=30))
def test_nobody_can_tell_that_a_question_was_remembered(course: list[Any]) -> None:
    """Whoever asks what, in whatever form and order, through purges and policies: status, headers and body are those of the
    long way, to the byte."""

    async def run() -> None:
        quick, long = Gateway(Repeats()), Gateway(Forgetful())
        again = [event for event in course for _ in range(3 if isinstance(event, tuple) else 1)]
        for event in again:
            if isinstance(event, int):
                quick.take(POLICIES[event])
                long.take(POLICIES[event])
            elif event == "purge":
                for each in (quick, long):
                    each.lasting.store.purge(Purge(), time.monotonic())
            else:
                assert await long.answer(event) == await quick.answer(event)
        await asyncio.gather(quick.lasting.spawner.close(), long.lasting.spawner.close())

    asyncio.run(run())
