"""What happens to requests that were asked at once, or to what was known of them: as to those that took the long way."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import deque
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.schedule import Schedule
from backends.signature import Input, Signature
from gateway.fronts.alike import ODD, Alike
from gateway.snapshot import Snapshot
from routing.cache.worth import WINDOW, Worth
from routing.plan import Target
from routing.principal import Principal
from tests.gateway.fronts.answering import Whole
from tests.gateway.fronts.pairs import DEAR, POLICY, QUESTION, TEXT, Start, question, text, until

WORDS = (
    *("longer", "400", "404", "429", "500", "503", "504", "half", "closed", "malformed", "lying", "twice", "behind", "interim"),
    *("chunked", "last", "unframed", "crumbs", "late", "hung"),
)


@pytest.mark.parametrize("endpoints", [1, 2])
@pytest.mark.parametrize("word", WORDS)
async def test_whatever_the_backend_does(word: str, endpoints: int, pair: Start) -> None:
    """Status, text, retries, breakers, counts and records are those of the long way; nothing is left in flight."""
    both = await pair(endpoints, POLICY.replace("5s", "600ms") if word == "hung" else POLICY)
    forms = (QUESTION, TEXT)
    for asked in forms:
        await both.settled(asked)
    for asked in (QUESTION,) if word in ("hung", "late", "lying") else (*forms, *forms):
        both.words = (word,)
        await both.same(asked)
        both.words = ()
        await both.same(asked)


async def test_answers_that_nobody_asked_for(pair: Start) -> None:
    """End their connection; the next question has its own."""
    both = await pair()
    await both.settled()
    (server,) = both.servers
    for number in range(5):
        both.words = ("unasked",)
        reply = await both.same(question(number))
        assert np.full(2, 2 * number, "<f4").tobytes() == reply.body[-8:]
        server.repeat()
        await until(lambda ended=2 * number + 2: ended == server.ended)  # type: ignore[misc]


async def test_answers_of_another_form_each_time_are_not_counted_on(pair: Start) -> None:
    """They are right all the same."""
    both = await pair()
    await both.settled()
    for _ in range(ODD):
        both.words = ("longer",)
        await both.same(QUESTION)
        assert both.at_once
    await both.same(QUESTION)
    assert not both.at_once


async def test_they_are_counted_on_as_long_as_one_is_as_expected_now_and_then(pair: Start) -> None:
    """What is no answer does not count."""
    both = await pair()
    await both.settled()
    for word in (*["longer"] * (ODD - 1), "ok", *["longer"] * (ODD - 1), "closed", "longer"):
        both.words = (word,)
        assert 200 == (await both.same(QUESTION)).status
        assert both.at_once
    await both.same(QUESTION)
    assert not both.at_once


def revoked(whole: Whole) -> None:
    whole.doors.held["ann"] = Principal("ann", "acme", scopes=frozenset({"models:infer:other"}))


def promoted(whole: Whole) -> None:
    whole.doors.held["ann"] = Principal("ann", "acme", "gold", frozenset({"models:infer"}))


def reloaded(whole: Whole) -> None:
    whole.take(DEAR)


def misfit(whole: Whole) -> None:
    whole.signatures[Target("fast", "triton", "fast", cost=2.0)] = Signature({"z": Input("FP32", (-1, 2))}, 8)


def scheduled(whole: Whole) -> None:
    whole.plane.snapshot.clusters["triton"].schedules["fast"] = Schedule(True, 0)


def drained(whole: Whole) -> None:
    whole.plane.snapshot.clusters["triton"].endpoints[0].drain(True, 0.0)


def full(whole: Whole) -> None:
    whole.plane.snapshot.clusters["triton"].places.most = 0


def dearer(whole: Whole) -> None:
    whole.take(POLICY.replace("cost: 2}", "cost: 3}"))


def expired(whole: Whole) -> None:
    whole.doors.ends["ann"] = time.time() - 1


EVENTS = [revoked, promoted, expired, reloaded, dearer, misfit, drained]


@pytest.mark.parametrize("event", EVENTS)
async def test_what_has_changed_meanwhile_is_noticed(event: Callable[[Whole], None], pair: Start) -> None:
    """By the very next request."""
    both = await pair()
    await both.settled()
    for whole in both.both:
        event(whole)
    await both.same(QUESTION)
    assert not both.at_once


async def test_a_place_is_waited_for(pair: Start) -> None:
    """Where all are taken, the long way; it is asked as soon as there is one."""
    both = await pair()
    await both.settled()
    for whole in both.both:
        full(whole)
    asking = asyncio.create_task(both.same(QUESTION))
    for whole in both.both:
        places = whole.plane.snapshot.clusters["triton"].places
        lane = places.lane("fast")
        await until(lambda lane=lane: bool(lane.queue))  # type: ignore[misc]
        places.most = 8
        places._turns(lane)
    assert 200 == (await asking).status
    assert not both.at_once


async def test_a_model_that_obeys_deadlines_is_told_them(pair: Start) -> None:
    """Each its own, as soon as that is known of the model."""
    both = await pair()
    await both.settled()
    scheduled(both.both[0])
    await both.clients[0][0].ask(QUESTION)
    (_, body) = both.servers[0].seen[-1]
    assert b'"timeout"' in body


def _more(whole: Whole, count: int) -> bool:
    return len(whole.records) > count


SLOW = POLICY.replace("5s", "2s")


async def test_clients_that_leave(pair: Start) -> None:
    """Their question is dropped at the backend, they are counted, and nothing is held for them; also when it takes long."""
    both = await pair(1, SLOW, 3)
    await both.settled()
    (server,) = both.servers
    for pause in (0.02, 0.2):
        for whole, clients in zip(both.both, both.clients, strict=True):
            left, server.words = len(whole.records), deque(["hung"])
            client = clients.pop()
            client.send(QUESTION)
            await until(lambda: not server.words)
            await asyncio.sleep(pause)
            client.close()
            await until(partial(_more, whole, left))
            await until(lambda: server.left > 0)
            server.left = 0
            assert ("499", "client-left") == (whole.records[-1].code, whole.records[-1].reason)
        await both.same(QUESTION)  # over a connection that has to be made
        await both.same(QUESTION)
        assert both.at_once


async def test_models_that_something_looks_at_take_the_long_way(pair: Start) -> None:
    """A split, a condition on what is in the tensors, a limit, a cascade, a fallback, a price by time, a cache, a sample."""
    for old, new in LOOKED_AT:
        both = await pair(1, POLICY.replace(old, new))
        for _ in range(4):
            await both.same(QUESTION)
            assert not both.at_once, new


LOOKED_AT = [
    ("use: fast}", "split: {fast: 50, dear: 50}}"),
    ("models:", "limits: [{name: all, concurrency: 10}]\nmodels:"),
    ("models:", "limits: [{name: all, cost: 1000/hour}]\nmodels:"),
    ("use: fast}", "cascade: {confidence: {output: y, metric: max-softmax}, stages: [{use: fast, accept: 0.0}, {use: dear}]}}"),
    ("timeout: 5s", "timeout: 5s\n    fallback: {fast: dear}"),
    ("cost: 2}", "cost: {call: 1}}"),
    ("timeout: 5s", "timeout: 5s\n    cache: {ttl: 1h}"),
]


CACHED = POLICY.replace("timeout: 5s", "timeout: 5s\n    cache: {ttl: 1h}")


def turned_off(now: float) -> None:
    """Every cache that there is finds that it gains nothing."""
    for each in [each for each in gc.get_objects() if type(each) is Worth]:
        for _ in range(WINDOW):
            each.looked(1.0, now)


async def test_a_cache_that_has_turned_itself_off(pair: Start) -> None:
    """Is as none, but that it says so, in headers and metrics; once it is on again, what it says counts."""
    both = await pair(1, CACHED)
    for number in range(4):
        assert "penstock; fwd=miss; stored" == (await both.same(question(number))).headers["cache-status"]
        assert not both.at_once
    assert (await both.same(question(0))).headers["cache-status"].startswith("penstock; hit")  # it is known by its bytes
    turned_off(time.monotonic())
    for number in range(4):
        assert OFF == (await both.same(question(number))).headers["cache-status"]
        assert both.at_once is (number > 0)
    for word in ("longer", "500", "half", "ok"):
        both.words = (word,)
        reply = await both.same(question(9))
        assert both.at_once
        assert reply.status != 200 or OFF == reply.headers["cache-status"]
    both.words = ()
    for wish in ("no-cache", "no-store"):
        for _ in range(4):
            said = (await both.same(question(5, cache_control=wish))).headers["cache-status"]
            assert said == (OFF if wish == "no-cache" else "penstock; fwd=request")
        assert both.at_once is (wish == "no-cache")
    for each in [each for each in gc.get_objects() if type(each) is Worth]:
        each.off_until = 0.0  # the while is over
    for number, status in ((0, "hit"), (9, "fwd=miss; stored"), (9, "hit")):
        assert f"penstock; {status}" == (await both.same(question(number))).headers["cache-status"].partition("; ttl=")[0]
        assert not both.at_once


OFF = 'penstock; fwd=bypass; detail="no-gain"'


LIMITED = "models:", "limits: [{name: few, per: tenant, requests: 12/h, bytes: 1MiB/h}]\nmodels:"


async def test_limits_count_each_once(pair: Start) -> None:
    """Also one whose answer takes the long way; who is refused is told so, and its backend is not asked."""
    both = await pair(1, POLICY.replace(*LIMITED))
    await both.settled()
    for number, word in enumerate(("ok", "longer", "500", "half", "ok", "ok")):
        both.words = (word,)
        reply = await both.same(QUESTION)
        assert both.at_once
        if reply.status == 200:
            assert f"r={7 - number}" == reply.headers["ratelimit"].split(";")[1]
    both.words = ()
    for left in (1, 0):
        assert f"r={left}" == (await both.same(QUESTION)).headers["ratelimit"].split(";")[1]
    for _ in range(3):
        assert 429 == (await both.same(QUESTION)).status
        assert not both.at_once


async def test_limits_weigh_each_body(pair: Start) -> None:
    """Small bodies in JSON do not speak for large ones."""
    both = await pair(1, POLICY.replace(LIMITED[0], LIMITED[1].replace("12/h, bytes: 1MiB/h", "100/h, bytes: 16KiB/h")))
    body = TEXT.partition(b"\r\n\r\n")[2].decode()
    asked = [text(json_of=body.replace("[1", "[" + " " * blanks + "1")) for blanks in (0, 0, 0, 4000, 4000, 4000, 4000)]
    assert [200, 200, 200, 200, 200, 200, 429] == [(await both.same(each)).status for each in asked]


async def test_what_is_known_goes_with_its_policy(pair: Start) -> None:
    """Policies come and go, and neither they nor what was known under them stay."""

    def alive() -> tuple[int, int]:
        gc.collect()
        found = [type(each) for each in gc.get_objects()]
        return found.count(Alike), found.count(Snapshot)

    before = alive()
    both = await pair()
    quick, client = both.both[0], both.clients[0][0]
    for _ in range(3):
        quick.take(POLICY)
        for _ in range(4):
            await client.ask(QUESTION)
    assert (1, 2) == tuple(now - was for now, was in zip(alive(), before, strict=True))


SOON = ("ok", *(word for word in WORDS if word not in ("lying", "late", "hung")))  # words after which nobody waits for a deadline


@given(st.lists(st.tuples(st.sampled_from(SOON), st.integers(0, 2), st.integers(1, 2)), min_size=5, max_size=25))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_course_of_events(pair: Start, course: list[tuple[str, int, int]]) -> None:
    """Two endpoints, three clients, and what one attempt or two come to: both gateways say, count, record and ask the same."""
    both = await pair(2, POLICY, 3)
    for number, (word, client, words) in enumerate(course):
        both.words = (word,) * words
        await both.same(text(number, 1, 10**number, 0) if number % 3 == 1 else question(number), client=client)
    await both.close()  # else all that were started so far sweep beside the next
