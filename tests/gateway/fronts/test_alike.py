"""Requests whose head came before: asked at once where all is as it was, and never unlike those that took the long way."""

from __future__ import annotations

import asyncio
import gc
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.schedule import Schedule
from backends.signature import Input, Signature
from gateway.fronts.alike import ODD, Alike
from gateway.snapshot import Snapshot
from routing.plan import Target
from routing.principal import Principal
from tests.gateway.edge.conftest import Client, Reply
from tests.gateway.fronts.answering import Server, Unknowing, Whole
from tests.gateway.fronts.twins import Held

POLICY = """
version: 1
backends:
  triton:
    protocol: triton-http
    endpoints: [ENDPOINTS]
    balance: round-robin
    retry: {attempts: 2, budget: 100%}
    breaker: {failures: 3, open: 1h}
models:
  digits:
    timeout: 5s
    variants: {fast: {backend: triton, model: fast, cost: 2}, dear: {backend: triton, model: dear, cost: 40}}
    routes: [{name: gold, match: {tier: gold}, use: dear}, {name: default, use: fast}]
"""
DEAR = POLICY.replace("{name: default, use: fast}", "{name: default, use: dear}")
OWN = ("x-request-id", "server-timing", "date", "retry-after")  # headers that each answer has for itself


def question(number: int = 0, rows: int = 2, **fields: str) -> bytes:
    """Some rows in binary, with a head that is the same for the same fields."""
    entry = {"name": "x", "datatype": "FP32", "shape": [rows, 2], "parameters": {"binary_data_size": 8 * rows}}
    head = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
    body = head + np.full(2 * rows, number, "<f4").tobytes()
    own = {"Host": "h", "Authorization": "ann", "Inference-Header-Content-Length": str(len(head)), **fields}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in own.items())
    return f"POST /v2/models/digits/infer HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


QUESTION = question()
Start = Callable[..., Awaitable["Pair"]]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - of other tasks' doing, which tell nobody
            await asyncio.sleep(0.005)


class Pair:
    """Two gateways that are asked the same, of which one knows nobody again."""

    def __init__(self, endpoints: int, policy: str) -> None:
        self.policy = policy
        self.servers = [Server() for _ in range(endpoints)]
        self.words: tuple[str, ...] = ()  # what each backend will do for each gateway
        self.both: list[Whole] = []
        self.clients: list[list[Client]] = []
        self.running: list[asyncio.Server] = []
        self.at_once = False  # the last request was asked without being admitted

    async def start(self, clients: int) -> Pair:
        self.running = [await server.start() for server in self.servers]
        self.both = [Whole(self.policy, self.servers, Held()), Whole(self.policy, self.servers, Unknowing())]
        for whole in self.both:
            await whole.start()
            ports = [whole.listener.port] * clients
            self.clients.append([Client(*await asyncio.open_connection("127.0.0.1", port)) for port in ports])
        return self

    async def close(self) -> None:
        for client in (client for each in self.clients for client in each):
            client.close()
        for whole in self.both:
            await whole.close()
            assert not any(whole.held())
        for server in self.running:
            server.close()

    async def same(self, *asked: bytes, client: int = 0) -> Reply:
        """The one answer of both, who counted and recorded and asked the same."""
        found, before = [], self.both[0].front.admitted
        for whole, clients in zip(self.both, self.clients, strict=True):
            for server in self.servers:
                server.words, server.seen = deque(self.words), []
            status, headers, body = await clients[client].ask(*asked)
            assert {"x-request-id", "date"} <= headers.keys()
            told = {name: value.partition(";t=")[0].partition("; ttl=")[0] for name, value in headers.items() if name not in OWN}
            found.append((status, told, body, whole.counted(), whole.recorded(), whole.seen(), whole.held()))
        assert found[1] == found[0]
        self.at_once = before == self.both[0].front.admitted
        return Reply(*found[0][:3])

    async def settled(self, asked: bytes = QUESTION) -> None:
        """From the third on it is asked at once."""
        found = []
        for _ in range(4):
            await self.same(asked)
            found.append(self.at_once)
        assert [False, False, True, True] == found


@pytest.fixture
async def pair() -> AsyncIterator[Callable[..., Awaitable[Pair]]]:
    """Starts pairs, and ends them with the test."""
    started: list[Pair] = []

    async def start(endpoints: int = 1, policy: str = POLICY, clients: int = 1) -> Pair:
        started.append(await Pair(endpoints, policy).start(clients))
        return started[-1]

    yield start
    for each in started:
        await each.close()


async def test_a_head_that_came_before_is_asked_at_once(pair: Start) -> None:
    """Whatever its tensors are, and from whichever connection; each with an id of its own."""
    both = await pair(clients=2)
    await both.settled()
    for number, client in ((1, 0), (2, 1), (3, 0), (4, 1)):
        reply = await both.same(question(number), client=client)
        assert both.at_once
        assert np.full(2, 2 * number, "<f4").tobytes() == reply.body[int(reply.headers["inference-header-content-length"]) :]
    ids = [(await both.clients[0][0].ask(QUESTION)).headers["x-request-id"] for _ in range(3)]
    heads = [head for head, _ in both.servers[0].seen[-3:]]
    assert all(f"x-request-id: {id}\r\n".encode() in head for id, head in zip(ids, heads, strict=True))
    assert 3 == len(set(ids))


HEADS = {
    "another header": question(X_Other="1"),
    "another caller": question(Authorization="bob"),
    "a stranger": question(Authorization="other"),
    "another length": question(rows=3),
    "a deadline": question(X_Request_Timeout_Ms="4000"),
    "an id of its own": question(X_Request_Id="mine"),
    "a trace": question(Traceparent="00-" + "1" * 32 + "-" + "1" * 16 + "-01"),
    "not to be done twice": question(Idempotency_Key="1"),
    "a version": question(X_Model_Version="1"),
    "the last": question(Connection="close"),
}


@pytest.mark.parametrize("what", HEADS)
async def test_another_head_takes_the_long_way(what: str, pair: Start) -> None:
    """However like it is."""
    both = await pair()
    await both.settled()
    await both.same(HEADS[what])
    assert not both.at_once


@pytest.mark.parametrize("what", ["an id of its own", "a trace", "not to be done twice", "a version"])
async def test_what_is_each_requests_own_is_never_known(what: str, pair: Start) -> None:
    """Though it may come in the same bytes."""
    both = await pair()
    for _ in range(4):
        await both.same(HEADS[what])
        assert not both.at_once


async def test_the_same_length_and_another_json(pair: Start) -> None:
    """Other names, shapes and lies of the same length are read, and refused as ever."""
    both = await pair()
    await both.settled()
    for old, new in (
        (b'"x"', b'"z"'),
        (b"[2, 2]", b"[4, 1]"),
        (b"[2, 2]", b"[2, 3]"),
        (b"FP32", b"FP64"),
        (b'"shape"', b'"shade"'),
    ):
        asked = QUESTION.replace(old, new)
        await both.same(asked)
        assert not both.at_once
    await both.same(QUESTION)
    assert both.at_once


async def test_a_body_in_pieces(pair: Start) -> None:
    """Is admitted as soon as its head is there, and asked at once when it is whole."""
    both = await pair()
    await both.settled()
    for at in (1, 100, len(QUESTION) - 20, len(QUESTION) - 1):
        before = both.both[0].front.admitted
        for clients in both.clients:
            clients[0].send(QUESTION[:at])
            await asyncio.sleep(0.01)
        await both.same(QUESTION[at:])
        assert (at > QUESTION.index(b"\r\n\r\n")) == both.both[0].front.admitted - before


async def test_pipelined_requests_are_answered_in_order(pair: Start) -> None:
    """One at a time."""
    both = await pair()
    await both.settled()
    for clients in both.clients:
        clients[0].send(b"".join(question(number) for number in range(20)))
        sums = [np.frombuffer((await clients[0].reply()).body[-4:], "<f4")[0] for _ in range(20)]
        assert [2.0 * number for number in range(20)] == sums


WORDS = (
    *("longer", "400", "404", "429", "500", "503", "504", "half", "closed", "malformed", "lying", "twice", "behind", "interim"),
    *("chunked", "last", "unframed", "crumbs", "late", "hung"),
)


@pytest.mark.parametrize("endpoints", [1, 2])
@pytest.mark.parametrize("word", WORDS)
async def test_whatever_the_backend_does(word: str, endpoints: int, pair: Start) -> None:
    """Status, text, retries, breakers, counts and records are those of the long way; nothing is left in flight."""
    both = await pair(endpoints, POLICY.replace("5s", "600ms") if word == "hung" else POLICY)
    await both.settled()
    for _ in range(1 if word == "hung" else 3):
        both.words = (word,)
        await both.same(question(7))
        both.words = ()
        await both.same(question(8))


async def test_answers_that_nobody_asked_for(pair: Start) -> None:
    """End their connection; the next question has its own."""
    both = await pair()
    await both.settled()
    for number in range(5):
        both.words = ("unasked",)
        reply = await both.same(question(number))
        assert np.full(2, 2 * number, "<f4").tobytes() == reply.body[-8:]
        await asyncio.sleep(0.02 * (number % 2))


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


EVENTS = [revoked, promoted, reloaded, misfit, drained, full]


@pytest.mark.parametrize("event", EVENTS)
async def test_what_has_changed_meanwhile_is_noticed(event: Callable[[Whole], None], pair: Start) -> None:
    """By the very next request."""
    both = await pair()
    await both.settled()
    for whole in both.both:
        event(whole)
    await both.same(QUESTION)
    assert not both.at_once


async def test_a_model_that_obeys_deadlines_is_told_them(pair: Start) -> None:
    """Each its own, as soon as that is known of the model."""
    both = await pair()
    await both.settled()
    scheduled(both.both[0])
    await both.clients[0][0].ask(QUESTION)
    (_, body) = both.servers[0].seen[-1]
    assert b'"timeout"' in body


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
            await until(lambda whole=whole, left=left: len(whole.records) > left)
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


@given(st.lists(st.tuples(st.sampled_from(("ok", *WORDS[:-2])), st.integers(0, 2), st.integers(1, 2)), min_size=5, max_size=25))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_course_of_events(pair: Start, course: list[tuple[str, int, int]]) -> None:
    """Two endpoints, three clients, and what one attempt or two come to: both gateways say, count, record and ask the same."""
    both = await pair(2, POLICY, 3)
    for number, (word, client, words) in enumerate(course):
        both.words = (word,) * words
        await both.same(question(number), client=client)
