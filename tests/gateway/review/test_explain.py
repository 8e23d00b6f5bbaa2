"""The whole explanation of one request."""

from __future__ import annotations

import json

import msgspec
import pytest

from gateway.configuration.load import load_policy
from gateway.configuration.schema_tests import Caller, Request
from gateway.configuration.tables import route_tables
from gateway.review.decision import Decider
from gateway.review.explain import Check, Explanation, Refusal, Turn, explain
from routing.price import Price

POLICY = b"""
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:1"]}}
aliases: {mnist: digits}
models:
  digits:
    timeout: 2s
    variants:
      fast: {backend: triton, model: f, cost: 1, timeout: 300ms}
      dear: {backend: triton, model: d, cost: 40, version: "1"}
      spare: {backend: triton, model: s, cost: 6}
      last: {backend: triton, model: l, cost: 7}
    routes:
      - {name: gold, match: {tier: gold}, use: dear, timeout: 9s, sample: 1%}
      - {name: halves, match: {tier: free}, split: {fast: 75, dear: 25}, unit: tenant}
      - name: default
        cascade: {confidence: {output: p, metric: margin}, stages: [{use: fast, accept: 0.9}, {use: dear}]}
    fallback: {dear: spare, spare: last}
  newest:
    version_policy: latest(2)
    variants: {fast: {backend: triton, model: f}}
    routes: [{name: default, use: fast}]
"""
DOCUMENT = load_policy(POLICY, "policy.yaml")


def explained(sample: Request) -> Explanation:
    return explain(DOCUMENT, sample, "abc")


def test_a_cascade() -> None:
    """Stages with what they ask and cost, who stands in, and what the request may cost in all."""
    found = explained(Request("digits", rows=2))
    (answer,) = found.answers
    assert ("abc", "digits", None, None) == (found.policy, found.model, found.refused, found.split)
    assert (
        Turn("fast", "triton", "f", "", 1, 0.3, 0.9, 0, ()),
        Turn("dear", "triton", "d", "1", 40, None, None, 0, ("spare", "last")),
    ) == answer.asked
    assert ("margin of p", 2, 82) == (answer.confidence, answer.least, answer.most)
    assert ("deadline", "authorize", "cascade", "fallback") == answer.layers


def test_what_a_kept_answers_key_is_made_of() -> None:
    """Part by part, and the two layers that then do something."""
    cached = load_policy(
        POLICY.replace(b"routes: [{name: default, use: fast}]", b"routes: [{name: default, use: fast}]\n    cache: {ttl: 1m}"),
        "p",
    )
    name = next(name for name, model in cached.models.items() if model.cache is not None)
    (answer,) = explain(cached, Request(name, Caller(tenant="acme")), "abc").answers
    assert ["whose", "model", "plan", "inputs", "parameters", "outputs"] == list(answer.cache)
    assert "tenant 'acme'" == answer.cache["whose"]
    assert ("deadline", "authorize", "cache", "coalesce") == answer.layers
    assert {} == explained(Request("digits")).answers[0].cache


LIMITED = load_policy(
    POLICY
    + b"""
limits:
  - {name: gold, match: {tier: [gold, silver], model: newest}, per: tenant, requests: 6000/m, burst: 9}
  - {per: model, concurrency: 4}
  - {per: subject, bytes: 1MiB/s}
""",
    "policy.yaml",
)


def test_limits() -> None:
    """Each with whose bucket pays, or why it does not count the request; the layer has an effect then."""
    found = explain(LIMITED, Request("mnist", Caller(tier="gold", tenant="acme")))
    assert [
        ("gold", False, "", "", "6000/m, 9 at once"),
        ("limit-2", True, "model", "digits", "4 at the same time"),
        ("limit-3", True, "subject", "", "1MiB/s"),
    ] == [(each.limit, each.counts, each.per, each.value, each.allows) for each in found.limits]
    assert [("tier", True), ("model", False)] == [(each.key, each.holds) for each in found.limits[0].conditions]
    assert ("deadline", "authorize", "limit", "fallback") == found.answers[0].layers
    (first, *_) = explain(LIMITED, Request("newest", Caller(tier="gold", tenant="acme"))).limits
    assert (True, "tenant", "acme") == (first.counts, first.per, first.value)


def test_what_is_refused_before_counts_nowhere() -> None:
    """Limits are told of requests that get so far."""
    assert () == explain(LIMITED, Request("mnist", Caller(scopes=("nothing",)))).limits
    assert () == explained(Request("digits")).limits


def test_whose_deadline_it_is() -> None:
    """The route's own, else the model's; the client's if it comes first."""
    gold = Caller(tier="gold")
    assert (9, "route", 0.01) == _deadline(Request("digits", gold))
    assert (2, "model", 0) == _deadline(Request("digits"))
    assert (0.1, "client", 0) == _deadline(Request("digits", headers={"X-Request-Timeout-Ms": "100"}))
    assert (9, "route", 0.01) == _deadline(Request("digits", gold, headers={"X-Request-Timeout-Ms": "10000"}))


def _deadline(sample: Request) -> tuple[float, str, float]:
    (answer,) = explained(sample).answers
    return answer.deadline, answer.deadline_of, answer.sample


def test_a_split() -> None:
    """Decided by the unit, or an answer for each side."""
    found = explained(Request("digits", Caller(tier="free", tenant="acme")))
    assert found.split is not None
    winner = min(found.split.sides, key=lambda side: side.bid or 0)
    assert [winner.variant] == [each.variant for each in found.answers[0].asked]
    halves = explained(Request("digits", Caller(tier="free"))).answers
    assert [(0.25, "dear"), (0.75, "fast")] == [(answer.share, answer.asked[0].variant) for answer in halves]


def test_checks_before_the_routes() -> None:
    """The model and its alias, the scope that permits it, the version."""
    assert (
        Check("model", "'mnist' is an alias of 'digits'"),
        Check("authorize", "scope models:infer:digits permits it"),
        Check("version", "none is asked for"),
    ) == explained(Request("mnist", Caller(scopes=("models:infer:digits",)))).checks
    newest = explained(Request("newest", version="3"))
    assert "'3' is asked for; version_policy: latest(2), and only the backend knows which those are" == newest.checks[2].said
    assert "3" == newest.answers[0].asked[0].version


@pytest.mark.parametrize(
    ("sample", "check", "refusal"),
    [
        (Request("digit"), Check("model", "unknown model 'digit' — did you mean 'digits'?", False), ("not-found", 404)),
        (Request("digits", Caller(scopes=("x",))), None, ("forbidden", 403)),
        (Request("digits", headers={"x-request-timeout-ms": "0"}), None, ("timeout", 400)),
    ],
)
def test_refused_before_the_routes(sample: Request, check: Check | None, refusal: tuple[str, int]) -> None:
    """The check that did not hold is the last, and no route was looked at."""
    found = explained(sample)
    assert found.refused is not None
    assert (*refusal, found.answers[0].refused) == (found.refused.reason, found.refused.status, found.refused)
    assert () == found.routes
    assert not found.checks[-1].holds
    assert check in (None, found.checks[-1])


def test_refused_by_a_route() -> None:
    """The routes are told too."""
    found = explained(Request("digits", version="4"))
    assert Refusal("version", 400, "route 'default' is a cascade of several models: ask without a version") == found.refused
    assert "hit" == found.routes[-1].outcome


def test_it_is_json_and_repeats() -> None:
    """An explanation is JSON; with a decider of the document it is the same one."""
    sample = Request("digits", Caller(tier="free", tenant="acme"))
    found = explained(sample)
    assert "digits" == json.loads(msgspec.json.encode(found))["model"]
    assert found == explain(DOCUMENT, sample, "abc", Decider(route_tables(DOCUMENT), DOCUMENT.aliases))


def test_money() -> None:
    """Prices by their parts, a cascade's budget, and the layers of rates and of sums, each where some limit has them."""
    priced = POLICY.replace(b"cost: 40", b"cost: {call: 3, row: 40, gpu_ms: 1}")
    priced = priced.replace(b"{use: dear}]}", b"{use: dear}], budget: {share: 20%}}")
    priced += b"limits: [{per: tenant, cost: 100/day, match: {tier: [silver, free]}}, {requests: 1/s, match: {tier: free}}]\n"
    document = load_policy(priced, "policy.yaml")
    silver, free = (explain(document, Request("digits", Caller(tier=tier), rows=2)) for tier in ("silver", "free"))
    (answer,) = silver.answers
    assert (2, 2 + 83, 0.2) == (answer.least, answer.most, answer.budget)
    assert Price(call=3.0, gpu_ms=1.0) == answer.asked[1].price
    assert ("deadline", "authorize", "budget", "cascade", "fallback") == answer.layers
    assert ("deadline", "authorize", "limit", "budget", "fallback") == free.answers[0].layers
    assert ["cost 100/day", "1/s"] == [each.allows for each in free.limits]
