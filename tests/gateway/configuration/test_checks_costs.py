"""Tests of gateway.configuration.checks_costs: money that could never be counted or spent is refused, with its line."""

from __future__ import annotations

import pytest

from gateway.configuration.load import load_policy
from gateway.configuration.problems import PolicyError

POLICY = """version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:8000"]}}
models:
  digits:
    variants:
      fast: {backend: triton, model: f, cost: FAST}
      dear: {backend: triton, model: d, cost: DEAR}
    routes:
      - name: default
        cascade: {confidence: {output: p, metric: margin}, stages: [{use: fast, accept: 0.9}, {use: dear}]BUDGET}
  free: {variants: {only: {backend: triton, model: o}}, routes: [{name: default, use: only}]}
LIMITS
"""


def problems(fast: str = "1", dear: str = "40", budget: str = "", limits: str = "") -> list[tuple[str, int, str, str | None]]:
    """What is wrong."""
    text = POLICY.replace("FAST", fast).replace("DEAR", dear).replace("BUDGET", budget).replace("LIMITS", limits)
    try:
        load_policy(text.encode(), "policy.yaml")
    except PolicyError as error:
        return [(each.path, each.line, each.message, each.suggestion) for each in error.problems]
    return []


def test_what_makes_sense() -> None:
    """A number alone is of a row; parts; budgets of all kinds."""
    assert [] == problems()
    assert [] == problems("{call: 1}", "{row: 40, token: 0.1, tokens: usage, gpu_ms: 1}", ", budget: {share: 20%}")
    assert [] == problems(limits="limits: [{per: tenant, cost: 1000/day, escalations: 50/hour}]")
    bounded = "{row: 40, token: 0.1, tokens: usage, most_tokens: 512, gpu_ms: 1, most_ms: 200}"
    assert [] == problems(dear=bounded, limits="limits: [{cost: 1/day}]")


@pytest.mark.parametrize(
    ("given", "path", "line", "message", "meant"),
    [
        ({"dear": "{row: 40, token: 1}"}, "models.digits.variants.dear.cost", 7, "'tokens' is missing", None),
        ({"dear": "{row: 40, tokens: u}"}, "models.digits.variants.dear.cost.tokens", 7, "a token costs nothing here", None),
        ({"dear": "{rows: 40}"}, "models.digits.variants.dear.cost.rows", 7, "unknown key 'rows'", "row"),
        ({"dear": "forty"}, "models.digits.variants.dear.cost", 7, "'forty' is not a number", None),
        ({"dear": "{call: -1}"}, "models.digits.variants.dear.cost.call", 7, "is negative", None),
        (
            {"fast": "{row: 9, call: 1}", "dear": "{row: 8}"},
            "models.digits.routes[0].cascade.stages[1].use",
            10,
            "'dear' (cost 8) is cheaper than 'fast' (cost 1 a call + 9 a row) before it",
            None,
        ),
        ({"budget": ", budget: {share: 0%}"}, "models.digits.routes[0].cascade.budget.share", 10, "no row would ever", None),
        ({"budget": ", budget: {share: 100%}"}, "models.digits.routes[0].cascade.budget.share", 10, "without it", None),
        ({"budget": ", budget: 20%"}, "models.digits.routes[0].cascade.budget", 10, "must be a mapping with share", None),
        ({"limits": "limits: [{cost: 1000}]"}, "limits[0].cost", 12, "is not a sum", "1000/day"),
        ({"limits": "limits: [{cost: 10/s}]"}, "limits[0].cost", 12, "unknown time 's'", None),
        ({"limits": "limits: [{match: {model: free}, escalations: 9/day}]"}, "limits[0].escalations", 12, "no model that", None),
        ({"limits": "limits: [{match: {model: free}, cost: 9/day}]"}, "limits[0].cost", 12, "costs anything", None),
        (
            {"limits": "limits: [{name: a, cost: 9/day}, {name: b, match: {tier: free}, cost: 10/day}]"},
            "limits[1]",
            12,
            "limit 'b' never decides: 'a' (line 12) allows no more",
            None,
        ),
        ({"dear": "{row: 40, most_ms: 9}"}, "models.digits.variants.dear.cost.most_ms", 7, "time costs nothing here", None),
        ({"dear": "{row: 40, most_tokens: 9}"}, "models.digits.variants.dear.cost.most_tokens", 7, "token costs nothing", None),
        (
            {"dear": "{row: 40, token: 1, tokens: u, most_tokens: 1000001}"},
            "models.digits.variants.dear.cost.most_tokens",
            7,
            "no more than 1,000,000 tokens of a row",
            None,
        ),
        (
            {"dear": "{row: 40, token: 1, tokens: u}", "limits": "limits: [{name: own, cost: 90/day}, {cost: 9/hour}]"},
            "models.digits.variants.dear.cost",
            7,
            "'most_tokens' is missing: limit 'own' reserves so many",
            None,
        ),
        (
            {"fast": "{row: 1, call: 2}", "limits": "limits: [{match: {model: digits}, cost: 2.5/day}]"},
            "limits[0].cost",
            12,
            "2.5 pays for no question: the cheapest that it counts costs 3",
            None,
        ),
        ({"limits": "limits: [{burst: 3, cost: 9/day}]"}, "limits[0].burst", 12, "a burst is of requests", None),
    ],
)
def test_mistakes(given: dict[str, str], path: str, line: int, message: str, meant: str | None) -> None:
    """One slip is one problem, at its place."""
    ((at, on, said, suggestion),) = problems(**given)
    assert (path, line, meant) == (at, on, suggestion)
    assert message in said


def test_a_month_says_nothing_of_a_day() -> None:
    """Sums of different periods hold together."""
    assert [] == problems(limits="limits: [{name: a, cost: 9/day}, {name: b, cost: 100/month}]")
