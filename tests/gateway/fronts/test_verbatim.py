"""Requests that come again to the byte: answered unread while nothing has changed, and read once anything has."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace as changed
from typing import Any

import pytest

from gateway.compile import blueprint
from gateway.edge.messages import HttpResponse, RequestHead
from gateway.fronts.repeats import Repeats
from gateway.fronts.verbatim import Verbatim
from gateway.snapshot import Snapshot
from routing.plan import Target
from routing.price import Price
from tests.gateway.fronts.test_shortcut import BASE, EVENTS, POLICY, ROWS, STEADY, Twins, close, same, twins
from tests.gateway.fronts.twins import Asked, Gateway

BYTES = changed(BASE, headers={"user-agent": "one", "x-odd": "0"})  # without anything that is another request's each time


async def known(pair: Twins, asked: Asked = BYTES) -> None:
    """From the third on nothing of it is read."""
    found = []
    for _ in range(6):
        await same(pair, asked)
        found.append(pair[0].unread)
    assert [False] * 5 + [True] == found


CASCADE = POLICY.replace(
    "use: fast}", "cascade: {confidence: {output: y, metric: max-softmax}, stages: [{use: fast, accept: 0.5}, {use: dear}]}}"
)


@pytest.mark.parametrize("policy", [STEADY, ROWS, blueprint(CASCADE.encode(), "policy.yaml")])
async def test_the_same_bytes_are_not_read_again(policy: Any) -> None:
    """And each of their answers has an id and a record of its own."""
    pair = twins(policy)
    await known(pair)
    for _ in range(3):
        await same(pair, BYTES)
        assert pair[0].unread
    assert len(pair[0].records) == len({record.request_id for record in pair[0].records})
    await same(pair, changed(BYTES, waited=100.0))
    assert not pair[0].unread
    await close(pair)


@pytest.mark.parametrize("event", EVENTS)
async def test_what_has_changed_meanwhile_is_noticed(event: Callable[[Gateway], None]) -> None:
    """The next one is read."""
    pair = twins()
    await known(pair)
    for gateway in pair:
        event(gateway)
    await same(pair, BYTES)
    assert not pair[0].unread
    await close(pair)


async def test_what_has_changed_leaves_nothing_behind() -> None:
    """Policies come and go, and so does what was remembered under each: neither is kept by what nobody finds any more."""

    def alive() -> tuple[int, int]:
        gc.collect()
        found = [type(each) for each in gc.get_objects()]
        return found.count(Verbatim), found.count(Snapshot)

    before = alive()
    gateway = Gateway(Repeats(), STEADY)
    for _ in range(5):
        gateway.take(STEADY)
        for _ in range(6):
            await gateway.answer(BYTES)
        assert gateway.unread
    assert (1, 1) == tuple(now - was for now, was in zip(alive(), before, strict=True))
    gateway.take(STEADY)
    await gateway.answer(changed(BYTES, who="bob"))
    assert (1, 1) == tuple(now - was for now, was in zip(alive(), before, strict=True))
    gateway.known.clear()
    gateway.front._repeats = Repeats()
    assert (0, 1) == tuple(now - was for now, was in zip(alive(), before, strict=True))
    await gateway.close()


async def test_what_the_dearest_would_have_cost_is_what_it_usually_costs_now() -> None:
    """Where that is known from what was asked: others ask meanwhile."""
    priced = POLICY.replace("model: dear}", "model: dear, cost: {row: 1, token: 1, tokens: y}}")
    pair = twins(blueprint(priced.encode(), "policy.yaml"))
    await known(pair)
    before = pair[0].records[-1].baseline
    target = Target("dear", "triton", "dear", cost=1, price=Price(token=1.0, tokens="y"))
    for gateway in pair:
        gateway.lasting.costs.answered("digits", target, 2, 0.0, 50.0)
    await same(pair, BYTES)
    assert pair[0].unread
    assert before == 2 < pair[0].records[-1].baseline
    for gateway in pair:
        gateway.lasting.costs.answered("digits", target, 2, 0.0, 500.0)
    await same(pair, changed(BYTES, headers={**BYTES.headers, "x-request-id": "own"}))
    assert pair[0].at_once
    await close(pair)


@pytest.mark.parametrize("name", ["x-request-id", "traceparent", "tracestate"])
async def test_what_is_another_requests_each_time_is_read(name: str) -> None:
    """Though it be the same this time: whoever sends it is told of it, and the log, too."""
    pair = twins()
    value = "00-" + "1" * 32 + "-" + "1" * 16 + "-01"
    for asked in (changed(BYTES, headers={**BYTES.headers, name: value}), BYTES):
        for _ in range(6):
            await same(pair, asked)
            assert not pair[0].unread or asked is BYTES
    assert pair[0].unread
    for _ in range(3):
        await same(pair, changed(BYTES, headers={**BYTES.headers, name: value}))
        assert (True, False) == (pair[0].at_once, pair[0].unread)
    await close(pair)


async def test_what_is_each_ones_own() -> None:
    """Its address, its time, never less than none, and the date that is told."""
    pair = twins()
    await known(pair)
    (again,) = pair[0].known.values()
    for came, least in ((pair[0].clock() - 2, 2), (pair[0].clock() + 2, 0)):
        raw = again("192.0.2.7", came, b"Date: now\r\n")
        assert isinstance(raw, bytes)
        record = pair[0].records[-1]
        assert ("192.0.2.7", int(record.seconds)) == (record.peer, least)
        assert record.overhead_seconds == record.seconds >= 0
        assert b"\r\nserver-timing: gateway;dur=%d" % (1000 * record.seconds) in raw
        assert b"\r\nDate: now\r\n\r\n" in raw
    await close(pair)


@pytest.mark.parametrize("again", [False, True])
async def test_a_credential_that_is_forgotten_before_the_body_comes(again: bool) -> None:
    """It was good when it was shown: the request is answered. What it says now is for later ones to find out."""
    quick, long = twins()
    content, length = BYTES.content
    for _ in range(3):
        await quick.answer(BYTES)
    headers = {"authorization": BYTES.who, **BYTES.headers, "inference-header-content-length": str(length)}
    verdict = quick.front.admit(RequestHead("POST", "/v2/models/digits/infer", "", headers, "", quick.clock()))
    quick.doors.held.clear()
    if again:
        quick.doors.check(headers, 0.0)
    assert not isinstance(verdict, HttpResponse)
    response = verdict(content)
    assert isinstance(response, HttpResponse)
    assert 200 == response.status
    (repeat,) = [repeat for known in quick.front._repeats._known.values() for repeat in known.values()]
    assert repeat.verbatim is None
    await close((quick, long))
