"""The short way of a question that comes again: taken where nothing has changed, left where anything has."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace as changed
from typing import Any

import pytest
from msgspec.structs import replace

from backends.signature import Input, Signature
from gateway.compile import blueprint
from gateway.fronts.repeats import LONGEST, Repeats
from gateway.fronts.shortcut import Shortcut
from routing.cache.caching import Purge
from routing.plan import Target
from routing.principal import Principal
from tests.gateway.fronts.twins import Asked, Forgetful, Gateway, body

POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:1"]}}
models:
  digits:
    cache: {ttl: 1h}
    timeout: 30s
    variants: {fast: {backend: triton, model: fast}, dear: {backend: triton, model: dear}}
    routes:
      - {name: odd, match: {header: {x-odd: "1"}}, use: dear}
      - {name: gold, match: {tier: gold}, use: dear}
      - {name: default, use: fast}
"""
DEFAULT = "{name: default, use: fast}"
STEADY = blueprint(POLICY.encode(), "policy.yaml")
DEAR = blueprint(POLICY.replace(DEFAULT, "{name: default, use: dear}").encode(), "policy.yaml")
ROWS = blueprint(POLICY.replace("{ttl: 1h}", "{ttl: 1h, rows: true}").encode(), "policy.yaml")
BASE = Asked(body(0, True), headers={"user-agent": "one", "x-odd": "0", "traceparent": "00-" + "1" * 32 + "-" + "1" * 16 + "-01"})
Twins = tuple[Gateway, Gateway]


def twins(policy: Any = STEADY) -> Twins:
    return Gateway(Repeats(), policy), Gateway(Forgetful(), policy)


async def same(pair: Twins, asked: Asked) -> tuple[int, dict[str, str]]:
    """The one answer of both; all that they have counted and recorded is the same, too."""
    quick, long = pair
    found = await quick.answer(asked)
    assert await long.answer(asked) == found
    assert long.counted() == quick.counted()
    assert long.recorded() == quick.recorded()
    assert not long.at_once
    return found[0], dict(found[1])


async def settled(pair: Twins, asked: Asked = BASE) -> None:
    """From the second hit on it goes at once."""
    found = []
    for _ in range(4):
        await same(pair, asked)
        found.append(pair[0].at_once)
    assert [False, False, False, True] == found


async def close(pair: Twins) -> None:
    for gateway in pair:
        await gateway.close()


def header(**more: str) -> Asked:
    return changed(BASE, headers={**BASE.headers, **{name.replace("_", "-"): value for name, value in more.items()}})


async def test_what_is_another_requests_each_time_keeps_nobody_from_it() -> None:
    """Its id and its trace: each answer and record has its own."""
    pair = twins()
    await settled(pair)
    for more in ({"x_request_id": "a"}, {"x_request_id": "b", "tracestate": "a=1"}, {"x_request_id": "not sane\x7f"}):
        _, told = await same(pair, header(**more))
        assert pair[0].at_once
        if more["x_request_id"] in "ab":
            assert more["x_request_id"] == told["x-request-id"] == pair[0].records[-1].request_id
    await same(pair, changed(BASE, headers={name: value for name, value in BASE.headers.items() if name != "traceparent"}))
    assert pair[0].at_once
    assert "" == pair[0].records[-1].traceparent
    await close(pair)


OTHERS = {
    "a header": header(x_another="1"),
    "a header's value": header(user_agent="two"),
    "a route's header": header(x_odd="1"),
    "no header": changed(BASE, headers={"user-agent": "one"}),
    "a header in another's place": changed(BASE, headers={"user-agent": "one", "x-even": "0", "x-request-id": "r"}),
    "no kept answer": header(cache_control="no-cache"),
    "nothing kept": header(cache_control="no-store"),
    "a version": changed(BASE, version="1"),
    "a version in a header": header(x_model_version="1"),
    "a wrong timeout": header(x_request_timeout_ms="0"),
    "a wrong coding": header(content_encoding="gzip"),
    "too late": changed(BASE, waited=100.0),
    "another caller": changed(BASE, who="bob"),
    "a stranger": changed(BASE, who="other"),
    "another model": changed(BASE, model="letters"),
    "other bytes": changed(BASE, content=body(1, True)),
}


@pytest.mark.parametrize("what", OTHERS)
async def test_another_question_takes_the_long_way(what: str) -> None:
    """Whatever differs, and though a decision may come out the same."""
    pair = twins()
    await settled(pair)
    await same(pair, OTHERS[what])
    assert not pair[0].at_once
    await same(pair, BASE)  # which may be another's by now
    await close(pair)


def gold(gateway: Gateway) -> None:
    gateway.doors.held["ann"] = Principal("ann", "acme", "gold", frozenset({"models:infer"}))


def barred(gateway: Gateway) -> None:
    gateway.doors.held["ann"] = Principal("ann", "acme", scopes=frozenset({"models:infer:letters"}))


def known_again(gateway: Gateway) -> None:
    gateway.doors.held.clear()


def misfit(gateway: Gateway) -> None:
    gateway.signatures[Target("fast", "triton", "fast")] = Signature({"z": Input("FP32", (-1, 2))}, 8)


def upgraded(gateway: Gateway) -> None:
    gateway.served = ("1", "2")


def other_secret(gateway: Gateway) -> None:
    gateway.keys.secret = b"s" * 32


def purged(gateway: Gateway) -> None:
    gateway.lasting.store.purge(Purge(model="digits"), gateway.clock())


def expired(gateway: Gateway) -> None:
    gateway.later += 3600.0


def replanned(gateway: Gateway) -> None:
    gateway.take(DEAR)


def reloaded(gateway: Gateway) -> None:
    gateway.take(STEADY)


EVENTS = (gold, barred, known_again, misfit, upgraded, other_secret, purged, expired, replanned, reloaded)


@pytest.mark.parametrize("event", EVENTS)
async def test_what_has_changed_meanwhile_is_noticed(event: Callable[[Gateway], None]) -> None:
    """The next question already takes the long way; if the answer can be kept, later ones are short again."""
    pair = twins()
    await settled(pair)
    for gateway in pair:
        event(gateway)
    code, _ = await same(pair, BASE)
    assert not pair[0].at_once
    for _ in range(3):
        await same(pair, BASE)
    assert (code == 200) is pair[0].at_once
    await close(pair)


@pytest.mark.parametrize("policy", [STEADY, ROWS])
async def test_an_answer_that_took_anothers_place_is_given(policy: Any) -> None:
    """Though its key, its plan and its time are those of the one before."""
    pair = twins(policy)
    await settled(pair)
    before = [await gateway.answer(BASE) for gateway in pair]
    await same(pair, header(cache_control="no-cache"))
    await same(pair, BASE)
    assert before[0][2] != (await pair[0].answer(BASE))[2]
    await close(pair)


UNSTEADY = {
    "a limit counts it": POLICY + "limits:\n  - {name: all, per: subject, requests: 1000/h}\n",
    "a rollout may begin at any time": POLICY
    + """\
    rollouts:
      fast:
        candidate: dear
        unit: request
        proof: time
        steps: [{weight: 50%, hold: 24h}]
        guards: [{metric: error-rate, max_increase: 0.5%}]
""",
    "the id decides": POLICY.replace(DEFAULT, "{name: default, split: {fast: 50, dear: 50}}"),
    "a route looks at the id": POLICY.replace('x-odd: "1"', "x-request-id: b"),
    "a route looks at the trace": POLICY.replace('{x-odd: "1"}', "{x-odd: a}, not: {any: [{header: {tracestate: a=1}}]}"),
}


@pytest.mark.parametrize("what", UNSTEADY)
async def test_what_hangs_on_more_is_never_short(what: str) -> None:
    """A quota, the id, or a header that changes from request to request."""
    pair = twins(blueprint(UNSTEADY[what].encode(), "policy.yaml"))
    for turn in range(12):
        await same(pair, header(x_request_id="ab"[turn % 2], tracestate=f"a={turn % 3}"))
        assert not pair[0].at_once
    await close(pair)


@pytest.mark.parametrize("asked", [header(x_model_version="1"), changed(BASE, version="1")])
async def test_a_question_for_a_version_is_never_short(asked: Asked) -> None:
    """Which versions there are for clients is known only now."""
    pair = twins()
    for _ in range(5):
        await same(pair, asked)
        assert not pair[0].at_once
    await close(pair)


@pytest.mark.parametrize("policy", [STEADY, ROWS])
async def test_a_coded_answer_is_remembered_coded(policy: Any) -> None:
    """For whoever accepts the coding; without it the answer is plain."""
    pair = twins(policy)
    asked = changed(Asked(body(0, False, id="a" * 2000)), headers={"accept-encoding": "gzip"})
    await settled(pair, asked)
    _, told, content = await pair[0].answer(asked)
    assert "gzip" == dict(told)["content-encoding"]
    assert b"a" * 2000 in gzip.decompress(content)
    _, told, content = await pair[0].answer(changed(asked, headers={}))
    assert b"a" * 2000 in content
    await close(pair)


async def test_an_answer_that_is_short_only_when_coded_is_not_remembered() -> None:
    """Else what it was made of could not go, however large, and nobody would count it."""
    pair, (content, _) = twins(), body(0, False, id="")
    asked = changed(Asked(body(0, False, id="a" * (LONGEST - len(content)))), headers={"accept-encoding": "gzip"})
    assert LONGEST == len(asked.content[0])
    for _ in range(5):
        _, told = await same(pair, asked)
        assert ("gzip", False) == (told["content-encoding"], pair[0].at_once)
    await close(pair)


async def test_a_coded_question_is_not_short() -> None:
    """Its bytes are known only when they are unpacked; those that are no code are refused, whatever came before."""
    pair, (content, length) = twins(), BASE.content
    coded = changed(header(content_encoding="gzip"), content=(gzip.compress(content), length))
    for _ in range(4):
        assert 200 == (await same(pair, coded))[0]
        assert not pair[0].at_once
    assert 400 == (await same(pair, changed(coded, content=BASE.content)))[0]
    await close(pair)


async def test_what_is_remembered_of_it_has_a_bound() -> None:
    """Headers and body count, once however often they are remembered anew; a long answer is not remembered at all."""
    pair = twins()
    await settled(pair)
    repeats = pair[0].front._repeats
    (known,) = (repeat for found in repeats._known.values() for repeat in found.values())
    short = known.shortcut
    assert isinstance(short, Shortcut)
    taken = repeats._taken
    exchange = replace(short.exchange, headers={**short.exchange.headers, "tracestate": "y" * 5000})
    repeats.settle(known, replace(short, exchange=exchange))
    assert taken + 5000 < repeats._taken < taken + 6000
    repeats.settle(known, short)
    assert taken == repeats._taken
    repeats.settle(known, replace(short, body=b"x" * (LONGEST + 1)))
    assert known.shortcut is short
    await close(pair)
