"""What clients are told about their answers."""

from __future__ import annotations

import pytest

from backends.errors import InferenceError, invalid
from backends.inference import InferenceResponse, Tensors
from gateway.dataplane import Outcome
from gateway.dialects.reply import (
    Told,
    client_timeout,
    failure_headers,
    public_text,
    request_id,
    told,
    version_asked,
    whole_seconds,
)
from policies.call import Answer, Share
from routing.plan import Plan


def outcome(*shares: Share, escalation: str = "none") -> Outcome:
    answer = Answer(InferenceResponse("", "", "", {}, Tensors(())), shares, 69.0, 0.004, escalation)
    return Outcome(answer, Plan("default", (), 1.0), "abc123")


def flat(found: Told) -> dict[str, str]:
    return dict((*found.fixed, *found.own))


def test_one_variant() -> None:
    """A plain answer names its variant, model, version, cost and times."""
    headers = flat(told(outcome(Share("fast", 32, "digits_fast", "1")), "id-1", 0.005))
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


def test_a_failure_on_a_route() -> None:
    """The route, and the time as a whole: whose it was nobody knows. Without a route nothing."""
    assert (("x-penstock-route", "default"), ("server-timing", "total;dur=5.250")) == failure_headers("default", 0.00525)
    assert () == failure_headers("", 0.005)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[request id: <id_unknown>] too short", "too short"),
        ("[request id: q-1] input 'x' [1, 2] is wrong", "input 'x' [1, 2] is wrong"),
        ("input [request id: 1] is wrong", "input [request id: 1] is wrong"),
        ("[1, 2] is no shape", "[1, 2] is no shape"),
    ],
)
def test_a_backend_s_own_note_is_left_out(text: str, told: str) -> None:
    """Only Triton's note in front of a text, nothing that merely looks like it."""
    assert told == public_text(invalid(text))


@pytest.mark.parametrize(
    ("named", "given", "version"), [("", None, ""), ("3", None, "3"), ("", "4", "4"), ("3", "3", "3"), ("3", "", "3")]
)
def test_a_version_is_asked_for_once(named: str, given: str | None, version: str) -> None:
    """By the path or message, by the header, or by both alike."""
    assert version == version_asked(named, {} if given is None else {"x-model-version": given})


@pytest.mark.parametrize("given", ["4", "03", "3, 3"])
def test_two_versions_are_refused(given: str) -> None:
    """Which of them is meant is not for us to guess."""
    with pytest.raises(InferenceError, match="x-model-version"):
        version_asked("3", {"x-model-version": given})


def test_rows_of_several_variants() -> None:
    """A cascade's answer says how many rows each variant gave."""
    shares = (Share("fast", 29, "digits_fast", "1"), Share("accurate", 3, "digits_accurate", "2"))
    headers = flat(told(outcome(*shares, escalation="fast→accurate"), "id-1", 0.005))
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


@pytest.mark.parametrize(("pause", "said"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.01, "2"), (59.5, "60")])
def test_a_pause_is_told_in_whole_seconds(pause: float, said: str) -> None:
    """Never less than it is: who came back a little early would be refused again."""
    assert said == whole_seconds(pause)
