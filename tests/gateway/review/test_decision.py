"""What the data plane decides, without a data plane."""

from __future__ import annotations

import pytest

from backends.errors import InferenceError
from gateway.configuration.load import load_policy
from gateway.configuration.schema_tests import Caller, Request
from gateway.configuration.tables import route_tables
from gateway.review.decision import Decider
from routing.plan import Plan

POLICY = b"""
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:1"]}}
aliases: {mnist: digits}
models:
  digits:
    version_policy: specific(1, 2)
    variants: {fast: {backend: triton, model: f}, dear: {backend: triton, model: d}}
    routers: {hard: {file: r.json, sha256: "SHA", input: text}}
    routes:
      - {name: hard, match: {prompt: {hard: {at_least: 0.62}}}, use: dear}
      - {name: large, match: {bytes: 1KiB..}, use: dear}
      - {name: wordy, match: {text_length: {text: 10..}}, use: dear}
      - {name: first, match: {priority: ..3}, use: dear}
      - {name: default, split: {fast: 75, dear: 25}, unit: tenant}
  newest:
    version_policy: latest(2)
    variants: {fast: {backend: triton, model: f}}
    routes: [{name: default, use: fast}]
"""
DOCUMENT = load_policy(POLICY.replace(b"SHA", b"a" * 64), "policy.yaml")
DECIDER = Decider(route_tables(DOCUMENT), DOCUMENT.aliases)


def routes(sample: Request) -> list[tuple[str, str]]:
    """Route and variant of each possibility, or the reason of the refusal."""
    found = []
    for possibility in DECIDER.decide(sample).possibilities:
        plan = possibility.result
        found.append((plan.route, plan.stages[0].target.variant) if isinstance(plan, Plan) else ("refused", plan.reason))
    return found


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (Request("digits", bytes=2000), ("large", "dear")),
        (Request("mnist", text_length={"text": 12, "other": 1}), ("wordy", "dear")),
        (Request("digits", prompt={"hard": 0.62}), ("hard", "dear")),
        (Request("digits", priority=3, prompt={"hard": 0.619999}), ("first", "dear")),
        (Request("digits", priority=3), ("first", "dear")),
        (Request("digits", headers={"X-Priority": "0"}), ("first", "dear")),
        (Request("digits", headers={"X-Priority": "high"}), ("refused", "priority")),
        (Request("newest", headers={"X-Priority": "high"}), ("default", "fast")),  # none of its routes looks at it
        (Request("digits", priority=4, request_id="r1"), ("default", "fast")),
        (Request("digits", priority=3, version="2"), ("first", "dear")),
        (Request("digits", priority=3, version="3"), ("refused", "version")),
        (Request("digits", priority=3, version="01"), ("refused", "version")),
        (Request("newest", version="7"), ("default", "fast")),
        (Request("digits", Caller(scopes=("models:infer:newest",))), ("refused", "forbidden")),
        (Request("mnist", Caller(scopes=("models:infer:digits",)), priority=0), ("first", "dear")),
        (Request("nothing", headers={"X-Request-Timeout-Ms": "soon"}), ("refused", "not-found")),
        (Request("newest", headers={"X-Request-Timeout-Ms": "soon"}), ("refused", "timeout")),
    ],
)
def test_decisions_are_the_data_planes(sample: Request, expected: tuple[str, str]) -> None:
    """Names, permission, versions, sizes and priority, in the data plane's own order."""
    assert [expected] == routes(sample)


def test_an_open_split_has_an_outcome_for_each_side() -> None:
    """With the side's share."""
    decision = DECIDER.decide(Request("digits"))
    assert [0.25, 0.75] == [possibility.share for possibility in decision.possibilities]
    assert [("default", "dear"), ("default", "fast")] == routes(Request("digits"))


def test_a_version_on_an_open_split() -> None:
    """Each side is judged by itself."""
    assert [("default", "dear"), ("default", "fast")] == routes(Request("digits", version="1"))
    assert [("refused", "version")] * 2 == routes(Request("digits", version="9"))


def test_the_question_is_what_the_routes_were_asked() -> None:
    """None where it did not get to them."""
    decision = DECIDER.decide(Request("mnist", bytes=2000))
    assert decision.question is not None
    assert 2000 == decision.question.size
    stranger = DECIDER.decide(Request("mnist", Caller(scopes=("x",))))
    assert stranger.explainer is not None
    assert None is stranger.question
    unknown = DECIDER.decide(Request("nothing"))
    assert (None, None) == (unknown.explainer, unknown.question)
    assert isinstance(unknown.possibilities[0].result, InferenceError)
