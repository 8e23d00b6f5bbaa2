"""Questions that come again: found only where they are the same, and within a bound."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from backends.inference import InferenceRequest, InferenceResponse, Tensors
from backends.protocols.v2_http_request import HttpQuestion, decode_request
from gateway.compile import blueprint
from gateway.fronts.repeats import LONGEST, Repeats, place
from routing.cache.caching import Purge
from routing.principal import Principal
from tests.gateway.fronts.twins import Asked, Forgetful, Gateway, body

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
        POLICY + "limits:\n  - {name: bobs, match: {subject: bob}, per: subject, requests: 1000000/s}\n",
    )
]
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
    {"x-request-id": "r"},
    {"accept-encoding": "gzip"},
]
REQUESTS = st.builds(
    Asked,
    st.sampled_from(BODIES),
    st.sampled_from(("ann", "bob", "")),
    st.sampled_from(("digits", "numbers")),
    st.sampled_from(HEADERS),
    st.sampled_from(("", "", "", "1")),
)
HAPPENS = st.sampled_from(("0", "1", "2", "3", "4", "purge", "expire", "forget", "secret", "versions"))  # the number of a policy
EVENTS = st.one_of(REQUESTS, REQUESTS, REQUESTS, HAPPENS)


async def test_a_question_is_remembered_from_its_first_hit_on() -> None:
    """And from its second on answered at once: else the next test would compare the long way with itself."""
    gateway, (content, length) = Gateway(Repeats(), POLICIES[0]), BODIES[0]
    at, found = place(Principal("ann", "acme"), "digits", length, content), []
    for _ in range(4):
        await gateway.answer(Asked(BODIES[0]))
        found.append((gateway.front._repeats.find(at) is not None, gateway.at_once))
    assert [(False, False), (True, False), (True, False), (True, True)] == found
    await gateway.close()


def happen(gateway: Gateway, event: str) -> None:
    """Something that changes what is answered, or who asks."""
    match event:
        case "purge":
            gateway.lasting.store.purge(Purge(), gateway.clock())
        case "expire":
            gateway.later += 3600.0
        case "forget":
            gateway.doors.held.clear()
        case "secret":
            gateway.keys.secret = bytes([byte ^ 1 for byte in gateway.keys.secret])
        case "versions":
            gateway.served = () if gateway.served else ("1", "2")
        case policy:
            gateway.take(POLICIES[int(policy)])


@settings(deadline=None, max_examples=40)
@given(st.lists(EVENTS, min_size=8, max_size=30))
def test_nobody_can_tell_that_a_question_was_remembered(course: list[Any]) -> None:
    """Whoever asks what, in whatever form and order, through purges and policies: status, headers and body are those of the
    long way, to the byte; and so is what is counted and recorded."""

    async def run() -> None:
        quick, long = Gateway(Repeats(), POLICIES[0]), Gateway(Forgetful(), POLICIES[0])
        for event in course:
            if isinstance(event, str):
                happen(quick, event)
                happen(long, event)
                continue
            for _ in range(4):
                assert await long.answer(event) == await quick.answer(event)
        assert long.counted() == quick.counted()
        assert long.recorded() == quick.recorded()
        await asyncio.gather(quick.close(), long.close())

    asyncio.run(run())
