"""What clients are told about their answers."""

from __future__ import annotations

import pytest

from backends.errors import InferenceError
from backends.inference import InferenceResponse, Tensors
from gateway.dataplane import Outcome
from gateway.dialects.reply import client_timeout, reply_headers, request_id
from policies.call import Answer, Share
from routing.plan import Plan


def outcome(*shares: Share, escalation: str = "none") -> Outcome:
    answer = Answer(InferenceResponse("", "", "", {}, Tensors(())), shares, 69.0, 0.004, escalation)
    return Outcome(answer, Plan("default", (), 1.0), "abc123")


def test_one_variant() -> None:
    """A plain answer names its variant, model, version, cost and times."""
    headers = dict(reply_headers(outcome(Share("fast", 32, "digits_fast", "1")), "id-1", 0.005))
    assert headers == {
        "x-request-id": "id-1",
        "x-model-name": "digits_fast",
        "x-model-version": "1",
        "x-penstock-route": "default",
        "x-penstock-variant": "fast",
        "x-penstock-escalation": "none",
        "x-penstock-cost": "69",
        "x-penstock-policy": "abc123",
        "server-timing": "gateway;dur=1.000, backend;dur=4.000",
    }


def test_rows_of_several_variants() -> None:
    """A cascade's answer says how many rows each variant gave."""
    shares = (Share("fast", 29, "digits_fast", "1"), Share("accurate", 3, "digits_accurate", "2"))
    headers = dict(reply_headers(outcome(*shares, escalation="fast→accurate"), "id-1", 0.005))
    assert headers["x-penstock-variant"] == "fast=29,accurate=3"
    assert (headers["x-model-name"], headers["x-model-version"]) == ("digits_fast,digits_accurate", "1,2")
    assert headers["x-penstock-escalation"] == "fast→accurate"


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, "made"), ("abc-1:2", "abc-1:2"), ("", "made"), ("a b", "made"), ("x" * 129, "made"), ('a"b', "made")],
)
def test_request_id_is_taken_only_if_sane(given: str | None, expected: str) -> None:
    """An id that could not stand in a log line or header is replaced."""
    assert expected == request_id({} if given is None else {"x-request-id": given}, "made")


def test_shortest_timeout_counts() -> None:
    """Of the client's and Envoy's wish the shorter is kept."""
    assert client_timeout({}) is None
    assert client_timeout({"x-request-timeout-ms": "250"}) == 0.25
    assert client_timeout({"x-request-timeout-ms": "250", "x-envoy-expected-rq-timeout-ms": "100"}) == 0.1


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "abc", "", "99999999999", "١"])
def test_timeouts_that_are_none(value: str) -> None:
    """A deadline that cannot be understood is refused, not ignored."""
    with pytest.raises(InferenceError, match="x-request-timeout-ms"):
        client_timeout({"x-request-timeout-ms": value})
