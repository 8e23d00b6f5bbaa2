"""Tests of gateway.configuration.tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.configuration.load import load_policy
from gateway.configuration.tables import route_tables
from routing.match import Cascade, Match, Range, Route, RouteTable, Split, Use
from routing.plan import Confidence, Stage, Target

TEXT = b"""
version: 1
backends:
  triton: {protocol: triton-http, endpoints: [127.0.0.1:8000]}
models:
  digits:
    timeout: 500ms
    variants:
      fast: {backend: triton, model: f, cost: 1}
      slow: {backend: triton, model: s, version: "2", cost: 40}
    routes:
      - name: all
        match: {tier: [y, x], tenant: t, header: {X-B: "1", x-a: two words}, rows: 1..8, parameter: {q: true, p: 1.5}}
        use: slow
        timeout: 2s
      - {name: shared, match: {rows: 9..}, split: {slow: 1, fast: 9}, unit: "header:X-User"}
      - {name: lonely, match: {rows: ..1}, split: {slow: 1}}
      - name: own
        match: {parameter: {own: yes}}
        cascade: {confidence: {metric: "output:sure"}, stages: [{use: fast, accept: 3}, {use: slow}]}
      - name: default
        cascade: {confidence: {output: p, metric: margin}, stages: [{use: fast, accept: 0.5}, {use: slow}]}
    fallback: {slow: fast}
"""
FAST = Target("fast", "triton", "f", "", 1.0)
SLOW = Target("slow", "triton", "s", "2", 40.0)


def test_table() -> None:
    """Everything a policy says of a model stands in its table, in the routing's own values."""
    stages = (Stage(FAST, 0.5), Stage(SLOW))
    match = Match(
        frozenset({"t"}), frozenset({"x", "y"}), (("x-a", "two words"), ("x-b", "1")), Range(1, 8), (("p", 1.5), ("q", True))
    )
    expected = RouteTable(
        model="digits",
        routes=(
            Route("all", match, Use(SLOW), 2.0),
            Route("shared", Match(rows=Range(9, None)), Split(((FAST, 9.0), (SLOW, 1.0)), "header:x-user"), 0.5),
            Route("lonely", Match(rows=Range(1, 1)), Split(((SLOW, 1.0),), "request"), 0.5),
            Route(
                "own",
                Match(parameters=(("own", "yes"),)),
                Cascade(Confidence("sure", "output"), (Stage(FAST, 3.0), Stage(SLOW))),
                0.5,
            ),
            Route("default", Match(), Cascade(Confidence("p", "margin"), stages), 0.5),
        ),
        fallback={"slow": FAST},
        dearest=40.0,
    )
    assert {"digits": expected} == route_tables(load_policy(TEXT, "policy.yaml"))


NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.sampled_from(["x", "1", "true"])
ROUTES = st.fixed_dictionaries(
    {"split": st.dictionaries(NAMES, st.integers(1, 9), min_size=1)},
    optional={
        "unit": st.sampled_from(["tenant", "subject", "request", "header:x-user"]),
        "timeout": st.sampled_from(["1s", "1000ms"]),
    },
)
MATCHES = st.fixed_dictionaries(
    {"tenant": st.text("tuv", min_size=3, max_size=6)},
    optional={
        "tier": st.lists(VALUES, min_size=1),
        "header": st.dictionaries(st.sampled_from(["x-a", "x-b"]), VALUES, min_size=1),
        "rows": st.sampled_from(["1..8", "16..", 4]),
        "parameter": st.dictionaries(NAMES, st.booleans() | st.integers(-9, 9) | VALUES, min_size=1),
    },
)


def _policy(routes: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    written = [{"name": f"r{index}", "match": match, **route} for index, (match, route) in enumerate(routes)]
    variants = {name: {"backend": "t", "model": name, "cost": cost} for cost, name in enumerate("abc")}
    return {
        "version": 1,
        "backends": {"t": {"protocol": "triton-grpc", "endpoints": ["h:1"]}},
        "models": {
            "m": {"variants": variants, "routes": [*written, {"name": "last", "use": "a"}], "fallback": {"c": "b", "b": "a"}}
        },
    }


def _reversed(value: Any) -> Any:
    """The same document with every mapping written from its end."""
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(value)}
    return [_reversed(each) for each in value] if isinstance(value, list) else value


@given(st.lists(st.tuples(MATCHES, ROUTES), max_size=4, unique_by=lambda pair: pair[0]["tenant"]))
def test_equal_documents_compile_to_equal_tables(routes: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """The order of keys in the file, its layout and its comments make no difference to the tables."""
    written: Callable[[Any], bytes] = lambda value: json.dumps(value).encode()  # noqa: E731 - twice the same line
    policy = _policy(routes)
    first = load_policy(written(policy), "one.yaml")
    second = load_policy(b"# the same\n" + json.dumps(_reversed(policy), indent=2).encode(), "two.yaml")
    assert first == second
    assert repr(route_tables(first)["m"].routes) == repr(route_tables(second)["m"].routes)
    assert route_tables(first) == route_tables(second)
