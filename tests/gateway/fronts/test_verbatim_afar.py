"""Requests that come again to the byte, whose answers lie further away: unread while the store says that they are the same."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from dataclasses import replace as changed
from functools import partial
from typing import Any

import pytest

from gateway.compile import blueprint
from gateway.edge.messages import HttpResponse, Later, RequestHead
from gateway.fronts.repeats import LONGEST, Repeats
from gateway.fronts.verbatim import Distant, _Asked
from tests.gateway.fronts.test_shortcut import EVENTS, ROWS, STEADY, Twins, close, misfit, same
from tests.gateway.fronts.test_verbatim import BYTES, CASCADE
from tests.gateway.fronts.twins import Asked, Forgetful, Gateway, body

SHORT = changed(BYTES, waited=0.0)
HAPPENS = Callable[[Gateway], None]


def twins(policy: Any = STEADY) -> Twins:
    return Gateway(Repeats(), policy, afar=True), Gateway(Forgetful(), policy, afar=True)


async def known(pair: Twins, asked: Asked = BYTES) -> None:
    """From the third hit on nothing of it is read; there is no shortcut for what is."""
    found = []
    for _ in range(4):
        await same(pair, asked)
        found.append(pair[0].unread)
        assert not pair[0].at_once
    assert [False] * 3 + [True] == found


@pytest.mark.parametrize("policy", [STEADY, blueprint(CASCADE.encode(), "policy.yaml")])
async def test_the_same_bytes_are_not_read_again(policy: Any) -> None:
    """And each of their answers has an id and a record of its own."""
    pair = twins(policy)
    await known(pair)
    for _ in range(3):
        await same(pair, BYTES)
        assert pair[0].unread
    assert len(pair[0].records) == len({record.request_id for record in pair[0].records})
    assert {"200"} == {record.code for record in pair[0].records}
    await close(pair)


def unreached(gateway: Gateway) -> None:
    gateway.elsewhere.reached = False


def evicted(gateway: Gateway) -> None:
    gateway.elsewhere._kept.clear()


@pytest.mark.parametrize("event", [*EVENTS, unreached, evicted])
async def test_what_has_changed_meanwhile_is_noticed(event: HAPPENS) -> None:
    """The next one is read."""
    pair = twins()
    await known(pair)
    for gateway in pair:
        event(gateway)
    await same(pair, BYTES)
    assert not pair[0].unread
    await close(pair)


@pytest.mark.parametrize("event", [*EVENTS, unreached, evicted])
async def test_what_changes_while_the_store_is_asked_is_noticed(event: HAPPENS) -> None:
    """The request is read then, and goes as if it had come after the change."""
    pair = twins()
    await known(pair)
    quick, long = pair
    quick.elsewhere.meanwhile = lambda: event(quick)
    event(long)
    await same(pair, BYTES)
    assert (False, True) == (quick.unread, quick.elsewhere.happened)
    await close(pair)


@pytest.mark.parametrize("event", [*EVENTS, unreached])
async def test_nobody_is_asked_where_that_is_known_before(event: HAPPENS) -> None:
    """Neither when the cache would not look, nor when something else has changed."""
    pair = twins()
    await known(pair)
    (again,) = pair[0].known.values()
    assert again("", pair[0].clock(), b"") is not None
    event(pair[0])
    assert again("", pair[0].clock(), b"") is None
    await close(pair)


async def test_what_the_target_takes_changes_while_it_is_first_found() -> None:
    """Who is answered in this moment was judged by what it took before: nothing is remembered of it."""
    pair = twins()
    for _ in range(2):
        await same(pair, BYTES)
    for gateway in pair:
        gateway.elsewhere.meanwhile = lambda gateway=gateway: misfit(gateway)
    assert 200 == (await same(pair, BYTES))[0]
    assert 400 == (await same(pair, BYTES))[0]
    assert not pair[0].unread
    await close(pair)


async def test_who_has_less_time_than_the_store_takes() -> None:
    """Goes the long way, in which the deadline has its say; so does whoever has none left when the store has spoken."""
    pair = twins()
    await known(pair)
    quick = pair[0]
    for waited, unread in ((29.94, True), (29.96, False), (100.0, False)):
        if not quick.known:
            await same(pair, BYTES)
        (again,) = quick.known.values()
        assert unread is (again("", quick.clock() - waited, b"") is not None)
    (again,) = quick.known.values()
    later = again("", quick.clock(), b"")
    assert not isinstance(later, bytes)
    assert later is not None

    def slow() -> None:
        quick.later += 30.0

    quick.elsewhere.meanwhile = slow
    said = asyncio.Event()
    later.begin(said.set)
    await said.wait()
    assert later.answer(b"") is None
    await close(pair)


async def test_a_client_that_leaves_while_the_store_is_asked() -> None:
    """Is told of as any that leaves before its answer; whatever the store says then says it to nobody."""
    pair = twins()
    await known(pair)
    quick, long = pair
    (again,) = quick.known.values()
    later = again("", quick.clock(), b"")
    assert later is not None
    assert not isinstance(later, bytes)
    told: list[int] = []
    later.begin(lambda: told.append(1))
    later.cancel()
    later.cancel()
    assert [1] == told
    content, length = BYTES.content
    headers = {"authorization": BYTES.who, **BYTES.headers, "inference-header-content-length": str(length)}
    verdict = long.front.admit(RequestHead("POST", "/v2/models/digits/infer", "", headers, "", long.clock()))
    assert not isinstance(verdict, HttpResponse)
    answering = asyncio.ensure_future(verdict(content))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)
    for _ in range(3):
        await asyncio.sleep(0)
    assert [1] == told
    assert long.counted() == quick.counted()
    assert long.recorded() == quick.recorded()
    assert ("499", "client-left") == (quick.records[-1].code, quick.records[-1].reason)
    await same(pair, BYTES)
    await close(pair)


async def test_a_process_that_ends_while_the_store_is_asked() -> None:
    """Its clients did not leave."""
    pair = twins()
    quick = pair[0]
    quick.front._parts = changed(quick.front._parts, leaving=lambda: True)
    await known(pair)
    (again,) = quick.known.values()
    later = again("192.0.2.7", quick.clock() - 2, b"")
    assert later is not None
    assert not isinstance(later, bytes)
    later.begin(lambda: None)
    later.cancel()
    record = quick.records[-1]
    assert ("499", "draining", "192.0.2.7", 2) == (record.code, record.reason, record.peer, int(record.seconds))
    await close(pair)


OWN_ID = changed(BYTES, headers={**BYTES.headers, "x-request-id": "a"})


@pytest.mark.parametrize("asked", [OWN_ID, Asked(body(0, False, id="a" * LONGEST))])
async def test_what_will_hardly_come_again_is_read(asked: Asked) -> None:
    """What has an id of its own, and what is long."""
    pair = twins()
    for _ in range(5):
        await same(pair, asked)
        assert (False, False) == (pair[0].unread, pair[0].at_once)
    await close(pair)


async def test_what_is_known_by_its_rows_is_read() -> None:
    """Of two rows that are kept one by one nobody asks whether both are the same."""
    pair = twins(ROWS)
    for _ in range(5):
        await same(pair, BYTES)
        assert (False, False) == (pair[0].unread, pair[0].at_once)
    await close(pair)


async def test_it_holds_nobody() -> None:
    """Neither the policies of before nor, once forgotten, itself."""

    def alive() -> int:
        gc.collect()
        return [type(each) for each in gc.get_objects()].count(Distant)

    before, gateway = alive(), Gateway(Repeats(), STEADY, afar=True)
    for _ in range(3):
        gateway.take(STEADY)
        for _ in range(4):
            await gateway.answer(BYTES)
        assert gateway.unread
    assert 1 == alive() - before
    gateway.known.clear()
    assert 0 == alive() - before
    await gateway.close()


async def test_it_leaves_nothing_to_collect() -> None:
    """One that was answered is gone at once, without anybody looking for rubbish; so is one whose client left."""
    pair = twins()
    await known(pair)
    (again,) = pair[0].known.values()

    def waiting() -> int:
        return [type(each) for each in gc.get_objects()].count(_Asked)

    gc.collect()
    gc.disable()
    try:
        for leaves in (False, True):
            later, said = again("", pair[0].clock(), b""), asyncio.Event()
            assert later is not None
            assert not isinstance(later, bytes)
            later.begin(partial(told, said, later))
            assert 1 == waiting()
            if leaves:
                later.cancel()
            await said.wait()
            assert leaves or later.answer(b"") is not None
            del later
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert 0 == waiting()
    finally:
        gc.enable()
    await close(pair)


def told(said: asyncio.Event, _: Later) -> None:
    said.set()
