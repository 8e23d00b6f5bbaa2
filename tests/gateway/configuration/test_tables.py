"""Tests of gateway.configuration.tables."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.compile import drawn
from gateway.configuration.load import load_policy
from gateway.configuration.tables import route_tables
from routing.match import Cascade, Match, Range, Route, RouteTable, Split, Use, Versions
from routing.plan import Confidence, Stage, Target

TEXT = b"""
version: 1
backends:
  triton: {protocol: triton-http, endpoints: [127.0.0.1:8000]}
models:
  digits:
    timeout: 500ms
    variants:
      fast: {backend: triton, model: f, cost: 1, timeout: 250ms}
      slow: {backend: triton, model: s, version: "2", cost: 40}
    routes:
      - name: all
        match: {tier: [y, x], tenant: t, header: {X-B: "1", x-a: two words}, rows: 1..8, parameter: {q: true, p: 1.5}}
        use: slow
        timeout: 2s
      - name: later
        match:
          scope: a
          version: ["2", "1"]
          bytes: 1KiB..
          priority: ..3
          text_length: {prompt: 5.., hint: ..5}
          parameter_range: {max_tokens: 512..}
          all: [{tier: x}]
          any: [{tenant: t}, {not: {rows: 2..}}]
          not: {tenant: u}
        use: fast
        sample: 1%
      - {name: shared, match: {rows: 9..}, split: {slow: 1, fast: 9}, unit: "header:X-User"}
      - {name: lonely, match: {rows: ..1}, split: {slow: 1}}
      - name: own
        match: {parameter: {own: yes}}
        cascade: {confidence: {metric: "output:sure"}, stages: [{use: fast, accept: 3}, {use: slow}]}
      - name: default
        cascade: {confidence: {output: p, metric: margin}, stages: [{use: fast, accept: 0.5}, {use: slow}]}
    fallback: {slow: fast}
    version_policy: specific(1, 2)
"""
FAST = Target("fast", "triton", "f", "", 1.0, 0.25)
SLOW = Target("slow", "triton", "s", "2", 40.0)

LATER = Match(
    scopes=frozenset({"a"}),
    versions=frozenset({"1", "2"}),
    size=Range(1024),
    priority=Range(0, 3),
    text_lengths=(("hint", Range(0, 5)), ("prompt", Range(5))),
    parameter_ranges=(("max_tokens", Range(512)),),
    every=(Match(tiers=frozenset({"x"})),),
    some=(Match(tenants=frozenset({"t"})), Match(never=Match(rows=Range(2)))),
    never=Match(tenants=frozenset({"u"})),
)


def test_table() -> None:
    """Everything a policy says of a model stands in its table, in the routing's own values."""
    stages = (Stage(FAST, 0.5), Stage(SLOW))
    match = Match(
        tenants=frozenset({"t"}),
        tiers=frozenset({"x", "y"}),
        headers=(("x-a", "two words"), ("x-b", "1")),
        rows=Range(1, 8),
        parameters=(("p", 1.5), ("q", True)),
    )
    expected = RouteTable(
        model="digits",
        routes=(
            Route("all", match, Use(SLOW), 2.0),
            Route("later", LATER, Use(FAST), 0.5, 0.01),
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
        versions=Versions(frozenset({"1", "2"})),
    )
    assert {"digits": expected} == route_tables(load_policy(TEXT, "policy.yaml"))


NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.sampled_from(["x", "1", "true"])
ROUTES = st.fixed_dictionaries(
    {"split": st.dictionaries(NAMES, st.integers(1, 9), min_size=1)},
    optional={
        "unit": st.sampled_from(["tenant", "subject", "request", "header:x-user"]),
        "timeout": st.sampled_from(["1s", "1000ms"]),
        "sample": st.sampled_from(["1%", "50%"]),
    },
)
CONDITIONS = {
    "tier": st.lists(VALUES, min_size=1),
    "scope": VALUES,
    "header": st.dictionaries(st.sampled_from(["x-a", "x-b"]), VALUES, min_size=1),
    "rows": st.sampled_from(["1..8", "16..", 4]),
    "bytes": st.sampled_from(["1MiB..", "..64KiB"]),
    "priority": st.sampled_from(["..3", 9]),
    "text_length": st.dictionaries(NAMES, st.sampled_from(["5..", 0]), min_size=1),
    "parameter": st.dictionaries(NAMES, st.booleans() | st.integers(-9, 9) | VALUES, min_size=1),
}
PART = st.fixed_dictionaries({"header": st.fixed_dictionaries({"x-c": VALUES}, optional={"x-d": VALUES})})
REFUSED = st.fixed_dictionaries({"header": st.fixed_dictionaries({"x-e": VALUES})}, optional={"tier": VALUES})
MATCHES = st.fixed_dictionaries(
    {"tenant": st.text("tuv", min_size=3, max_size=6)},
    optional={
        **CONDITIONS,
        "any": st.lists(PART, min_size=1, max_size=3),
        "not": REFUSED,
    },
)


def _policy(routes: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    written = [{"name": f"r{index}", "match": match, **route} for index, (match, route) in enumerate(routes)]
    variants = {name: {"backend": "t", "model": name, "cost": cost} for cost, name in enumerate("abc")}
    last = {"name": "last", "use": "a"}
    model = {"variants": variants, "routes": [*written, last], "fallback": {"c": "b", "b": "a"}, "version_policy": "latest(2)"}
    backend = {"protocol": "triton-grpc", "endpoints": ["h:1"]}
    return {
        "version": 1,
        "backends": {"t": backend, "s": backend},
        "models": {"m": model, "n": model},
        "aliases": {"o": "m", "p": "n"},
        "tests": [{"name": "any", "request": {"model": "o"}, "expect": {"route": "last"}}],
    }


def _reversed(value: Any) -> Any:
    """The same document with every mapping written from its end."""
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(value)}
    return [_reversed(each) for each in value] if isinstance(value, list) else value


class _Plain(yaml.CSafeDumper):
    """Writes what is there twice twice."""

    def ignore_aliases(self, data: object) -> bool:
        return True


@given(st.lists(st.tuples(MATCHES, ROUTES), max_size=4, unique_by=lambda pair: pair[0]["tenant"]))
def test_equal_documents_compile_to_equal_tables(routes: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """The order of keys in the file, flow or block style, and comments make no difference to what is compiled."""
    policy = _policy(routes)
    flow = json.dumps(policy).encode()
    block = yaml.dump(_reversed(policy), Dumper=_Plain, sort_keys=False, default_flow_style=False)
    commented = "\n".join(f"{line}  # the same" for line in block.splitlines()).encode()
    first, second = load_policy(flow, "one.yaml"), load_policy(commented, "two.yaml")
    assert first == second
    tables = [route_tables(document) for document in (first, second)]
    assert tables[0] == tables[1]
    assert repr(tables[0]["m"].routes) == repr(tables[1]["m"].routes)
    blueprints = [replace(drawn(document, text, "x.yaml"), version="") for document, text in ((first, flow), (second, commented))]
    assert blueprints[0] == blueprints[1]
    assert blueprints[0].clusters == blueprints[1].clusters
