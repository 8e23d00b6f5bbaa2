"""The facts of one request, and the record made of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, InferenceResponse, Tensors
from gateway.dataplane import Outcome
from gateway.edge.messages import RequestHead
from gateway.fronts.exchange import began
from gateway.snapshot import Model, Snapshot
from gateway.telemetry.record import Drawn
from gateway.telemetry.recorder import Recorder
from policies.call import Answer, Asked, Cached, Call, Share
from routing.conditions import Looks
from routing.match import Match, Question, Route, RouteTable, Use
from routing.plan import Plan, Stage, Target
from routing.principal import Principal
from routing.sampling import Sampling, sampling


def _never() -> None:
    raise AssertionError


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PLAN = Plan("default", (Stage(Target("fast", "b", "m", cost=1.0)),), 1.0, dearest=40.0)
MODEL = Model("digits", lambda _: PLAN, _never, _never, ())  # type: ignore[arg-type]


def test_an_exchange_that_went_well(make_request: Callable[..., InferenceRequest]) -> None:
    """Time in the gateway is what the backends did not take; the baseline is the dearest variant's price for all rows."""
    headers = {"traceparent": PARENT, "x-request-id": "mine"}
    exchange = began(RequestHead("POST", "/p", "", headers, "1.2.3.4", 10.0), "made")
    exchange.record.rows, exchange.record.model = 3, "digits"
    call = Call("digits", make_request(rows=3), Principal("ann", "acme"), PLAN, Deadline(11.0))
    exchange.planned(call, Snapshot("v1", {"digits": MODEL}, {}, {}), None)
    exchange.principal = Principal("ann", "acme")
    shares = (Share("fast", 2, "m", "1"), Share("dear", 1, "n", "1"))
    answer = Answer(InferenceResponse("m", "1", "", {}, Tensors(())), shares, 42.0, 0.3, "fast→dear")
    exchange.answered(Outcome(answer, PLAN, "v1"))
    record = exchange.ended("200", 10.5, "v2")
    assert ("200", 0.5, 0.2, 0.3) == (record.code, record.seconds, round(record.overhead_seconds, 6), record.backend_seconds)
    assert ("fast,dear", (("fast", 2), ("dear", 1)), 42.0, 120.0) == (record.variant, record.shares, record.cost, record.baseline)
    assert ("mine", "ann", "acme", "v1", PARENT) == (
        record.request_id,
        record.subject,
        record.tenant,
        record.policy,
        record.traceparent,
    )


@pytest.mark.parametrize(
    ("cached", "kept"),
    [
        (None, 0.0),
        (Cached("miss"), 0.0),
        (Cached("hit", 5.0), 1.0),
        (Cached("stale", -5.0), 1.0),
        (Cached("miss", collapsed=True), 1.0),
        (Cached("partial", kept=0.75), 0.75),
        (Cached("partial", kept=0.75, collapsed=True), 1.0),
    ],
)
def test_rows_that_nobody_was_asked_about(
    make_request: Callable[..., InferenceRequest], cached: Cached | None, kept: float
) -> None:
    """Kept, or asked on behalf of another: what they would have cost was saved by the cache. Prices by parts have a baseline by
    rows."""
    exchange = began(RequestHead("POST", "/p", "", {}, "1.2.3.4", 10.0), "made")
    exchange.record.rows = 4
    call = Call("digits", make_request(rows=4), Principal("ann"), PLAN, Deadline(11.0))
    priced = dataclasses.replace(MODEL, baseline=lambda rows: 7.0 + rows)
    exchange.planned(call, Snapshot("v1", {"digits": priced}, {}, {}), None)
    response = InferenceResponse("m", "1", "", {}, Tensors(()))
    answer = Answer(response, (Share("fast", 4, "m", "1"),), 0.0, 0.3, cached=cached)
    exchange.answered(Outcome(answer, PLAN, "v1"))
    assert (kept, 11.0, False) == (exchange.record.kept, exchange.record.baseline, exchange.record.cascade)


@pytest.mark.parametrize(
    ("cached", "recorded"),
    [
        (None, True),
        (Cached("miss"), True),
        (Cached("off"), True),
        (Cached("hit", 5.0), False),
        (Cached("partial"), False),
        (Cached("miss", collapsed=True), False),
    ],
)
def test_samples_say_what_asking_takes(cached: Cached | None, recorded: bool) -> None:
    """A request that was answered from what is kept, or by what others asked, is not recorded."""
    exchange = began(RequestHead("POST", "/p", "", {}, "", 0.0), "made")
    question = Question(Principal("ann"), {}, 1, {}, "", "r")
    exchange.record.drawn = Drawn("v1", Sampling("digits", (), (), Looks(), (), 1.0), question, "digits", PLAN, 1.0)
    answer = Answer(InferenceResponse("m", "1", "", {}, Tensors(())), (), 0.0, 0.1, cached=cached)
    exchange.answered(Outcome(answer, PLAN, "v1"))
    assert recorded == (exchange.record.drawn is not None)


def test_an_exchange_that_ended_early() -> None:
    """What is not known is empty, and the policy is the one in force."""
    exchange = began(RequestHead("GET", "/p", "", {}, "", 0.0), "made")
    exchange.failed(InferenceError(ErrorKind.FORBIDDEN, "no"))
    record = exchange.ended("PERMISSION_DENIED", 0.0, "v2")
    assert ("PERMISSION_DENIED", "forbidden", "v2", "made") == (record.code, record.reason, record.policy, record.request_id)
    assert ("", "", "", 0.0, 0.0, ()) == (record.model, record.route, record.variant, record.cost, record.baseline, record.shares)


def test_more_backend_than_time() -> None:
    """Stages asked side by side may take longer than the request: the gateway's own time is never negative."""
    exchange = began(RequestHead("POST", "/p", "", {}, "", 0.0), "made")
    answer = Answer(InferenceResponse("m", "1", "", {}, Tensors(())), (), 0.0, 5.0)
    exchange.answered(Outcome(answer, PLAN, "v1"))
    assert 0.0 == exchange.ended("200", 1.0, "v1").overhead_seconds


def test_what_goes_on_to_backends() -> None:
    """The id that counts, a valid trace, and the key of a client whose request must not be done twice."""
    headers = {"x-request-id": "not sane", "traceparent": PARENT, "cookie": "c"}
    exchange = began(RequestHead("POST", "/p", "", headers, "", 0.0), "made")
    passed = (("x-request-id", "made"), ("traceparent", PARENT))
    assert passed == exchange.passed_headers()
    exchange = began(RequestHead("POST", "/p", "", {**headers, "idempotency-key": "k"}, "", 0.0), "made")
    assert (*passed, ("idempotency-key", "k")) == exchange.passed_headers()


def test_a_sampled_request_is_drawn_when_it_is_planned(make_request: Callable[..., InferenceRequest]) -> None:
    """Where its route samples and samples are recorded; the asks of its answer come with it."""
    route = Route("default", Match(), Use(Target("fast", "b", "m")), 1.0, sample=1.0)
    model = Model("digits", lambda _: PLAN, None, None, (), sampling=sampling(RouteTable("digits", (route,))))  # type: ignore[arg-type]
    snapshot = Snapshot("v1", {"digits": model}, {}, {})
    question = Question(Principal("ann"), {}, 1, {}, "", "id")
    plan = replace(PLAN, sample=1.0)
    call = Call("digits", make_request(), Principal("ann"), plan, Deadline(11.0), question=question)
    head = RequestHead("POST", "/p", "", {}, "", 0.0)
    unrecorded, unsampled, drawn = began(head, "a"), began(head, "b"), began(head, "c")
    samples = Recorder(None, bytes(16), chance=lambda: 0.5)  # type: ignore[arg-type]
    unrecorded.planned(call, snapshot, None)
    unsampled.planned(replace(call, plan=PLAN), snapshot, samples)
    drawn.planned(call, snapshot, samples)
    assert (None, None) == (unrecorded.record.drawn, unsampled.record.drawn)
    asks = (Asked("fast", 1, 0.1, None),)
    answer = Answer(InferenceResponse("m", "1", "", {}, Tensors(())), (Share("fast", 1, "m", "1"),), 1.0, 0.1, asks=asks)
    for each in (unrecorded, drawn):
        each.answered(Outcome(answer, plan, "v1"))
    assert drawn.record.drawn is not None
    assert (question, asks, "v1") == (drawn.record.drawn.question, drawn.record.drawn.asks, drawn.record.drawn.policy)
