"""The facts of one request, and the record made of them."""

from __future__ import annotations

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceResponse, Tensors
from gateway.dataplane import Outcome
from gateway.fronts.exchange import Exchange
from policies.call import Answer, Share
from routing.plan import Plan, Stage, Target
from routing.principal import Principal

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PLAN = Plan("default", (Stage(Target("fast", "b", "m", cost=1.0)),), 1.0, dearest=40.0)


def test_an_exchange_that_went_well() -> None:
    """Time in the gateway is what the backends did not take; the baseline is the dearest variant's price for all rows."""
    exchange = Exchange("POST", "/p", {"traceparent": PARENT, "x-request-id": "mine"}, "1.2.3.4", "made")
    exchange.received, exchange.rows, exchange.model, exchange.plan = 10.0, 3, "digits", PLAN
    exchange.principal = Principal("ann", "acme")
    shares = (Share("fast", 2, "m", "1"), Share("dear", 1, "n", "1"))
    answer = Answer(InferenceResponse("m", "1", "", {}, Tensors(())), shares, 42.0, 0.3, "fast→dear")
    exchange.outcome = Outcome(answer, PLAN, "v1")
    record = exchange.record(200, 10.5, "v2")
    assert ("200", 0.5, 0.2, 0.3) == (record.code, record.seconds, round(record.overhead_seconds, 6), record.backend_seconds)
    assert ("fast,dear", (("fast", 2), ("dear", 1)), 42.0, 120.0) == (record.variant, record.shares, record.cost, record.baseline)
    assert ("mine", "ann", "acme", "v1", PARENT) == (
        record.request_id,
        record.subject,
        record.tenant,
        record.policy,
        record.traceparent,
    )


def test_an_exchange_that_ended_early() -> None:
    """What is not known is empty, and the policy is the one in force."""
    exchange = Exchange("GET", "/p", {}, "", "made")
    exchange.failed(InferenceError(ErrorKind.FORBIDDEN, "no"))
    record = exchange.record("PERMISSION_DENIED", 0.0, "v2")
    assert ("PERMISSION_DENIED", "forbidden", "v2", "made") == (record.code, record.reason, record.policy, record.request_id)
    assert ("", "", "", 0.0, 0.0, ()) == (record.model, record.route, record.variant, record.cost, record.baseline, record.shares)


def test_more_backend_than_time() -> None:
    """Stages asked side by side may take longer than the request: the gateway's own time is never negative."""
    exchange = Exchange("POST", "/p", {}, "", "made")
    answer = Answer(InferenceResponse("m", "1", "", {}, Tensors(())), (), 0.0, 5.0)
    exchange.outcome = Outcome(answer, PLAN, "v1")
    assert 0.0 == exchange.record(200, 1.0, "v1").overhead_seconds


def test_what_goes_on_to_backends() -> None:
    """The id that counts, and a valid trace."""
    exchange = Exchange("POST", "/p", {"x-request-id": "not sane", "traceparent": PARENT, "cookie": "c"}, "", "made")
    assert (("x-request-id", "made"), ("traceparent", PARENT)) == exchange.passed_headers()
