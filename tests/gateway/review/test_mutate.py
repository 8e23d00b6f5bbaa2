"""Whether a policy's tests would notice a rule gone wrong."""

from __future__ import annotations

from pathlib import Path

from gateway.configuration.load import load_policy
from gateway.configuration.tables import route_tables
from gateway.review.mutate import Rule, examine
from gateway.review.trial import failures

ROOT = Path(__file__).parents[3]
POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:1"]}}
aliases: {mnist: digits}
models:
  digits:
    variants:
      fast: {backend: triton, model: f, cost: 1}
      balanced: {backend: triton, model: b, cost: 6}
      accurate: {backend: triton, model: a, version: "1", cost: 40}
    routes:
      - {name: enterprise, match: {tier: enterprise}, use: accurate}
      - {name: halves, match: {header: {x-half: "1"}}, split: {fast: 75, balanced: 25}, unit: tenant}
      - {name: nested, match: {any: [{tenant: acme}, {rows: 64..}], not: {scope: "models:admin"}}, use: balanced}
      - {name: long, match: {text_length: {text: 100..}, priority: ..3, bytes: 1KiB..}, use: fast}
      - {name: default, cascade: {confidence: {output: p, metric: margin}, stages: [{use: fast, accept: 0.5}, {use: accurate}]}}
  other:
    variants: {only: {backend: triton, model: o}}
    routes: [{name: mine, match: {tenant: acme}, use: only}, {name: default, use: only}]
"""


def examined(tests: str = "", policy: str = POLICY) -> list[Rule]:
    document = load_policy((policy + (f"tests:\n{tests}" if tests else "")).encode(), "policy.yaml")
    tables = route_tables(document)
    assert () == failures(document, tables)
    return list(examine(document, tables))


def suggestions(rules: list[Rule]) -> str:
    tests = dict.fromkeys(survivor.test for rule in rules for survivor in rule.survivors)
    return "".join(f"  {line}\n" for test in tests for line in test)


def test_without_tests_every_rule_is_untested() -> None:
    """Each could be taken away, and nothing else is said of it."""
    rules = examined()
    assert ["enterprise", "halves", "nested", "long", "default", "mine", "default"] == [rule.route for rule in rules]
    assert [("it is taken away",)] * 7 == [tuple(survivor.said for survivor in rule.survivors) for rule in rules]
    assert [("digits", 0), ("digits", 1)] == [(rule.model, rule.index) for rule in rules[:2]]


def test_the_suggested_tests_hold_and_leave_nothing_untested() -> None:
    """Pasted into the document, once for rules without tests and once for what remains."""
    first = suggestions(examined())
    second = first + suggestions(examined(first))
    assert [] == [(rule.route, survivor.said) for rule in examined(second) for survivor in rule.survivors]
    assert 25 < sum(rule.mutants for rule in examined(second))


def test_the_mutant_that_survives_is_named() -> None:
    """A rule tested from one side only."""
    tests = "  - {name: a, request: {model: mnist, principal: {tier: enterprise}}, expect: {route: enterprise, use: accurate}}\n"
    rule = examined(tests)[0]
    assert ["'tier enterprise' is left out", "it stands below 'halves'"] == [survivor.said for survivor in rule.survivors]
    assert "  request: {model: digits}" == rule.survivors[0].test[1]


def test_a_route_that_is_only_named_can_have_another_variant() -> None:
    """A test that expects the route and no variant does not notice who answers."""
    tests = "  - {name: a, request: {model: digits, principal: {tier: enterprise}}, expect: {route: enterprise}}\n"
    assert "it uses 'balanced'" in [survivor.said for survivor in examined(tests)[0].survivors]


def test_tests_of_refusals_count() -> None:
    """Who expects a version to be refused notices the stage that makes it so."""
    tests = """
  - {name: a, request: {model: digits, version: "1"}, expect: {refused: version}}
  - {name: b, request: {model: digits}, expect: {route: default}}
"""
    assert () == examined(tests)[4].survivors


def test_what_changes_nothing_is_not_reported() -> None:
    """Routes that never meet can stand in any order, and a side of a split can be out of the unit's reach."""
    policy = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:1"]}}
models:
  digits:
    variants: {fast: {backend: triton, model: f}, balanced: {backend: triton, model: b}}
    routes:
      - {name: small, match: {tenant: small}, use: fast}
      - {name: halves, match: {tenant: bigco}, split: {fast: 75, balanced: 25}, unit: tenant}
      - {name: default, use: fast}
"""
    tests = """
  - {name: a, request: {model: digits, principal: {tenant: small}}, expect: {route: small, use: fast}}
  - {name: b, request: {model: digits, principal: {tenant: bigco}}, expect: {route: halves, use: fast}}
  - {name: c, request: {model: digits}, expect: {route: default, use: fast}}
"""
    assert [(), (), ()] == [rule.survivors for rule in examined(tests, policy)]


def test_the_shipped_policy_has_a_test_for_every_rule() -> None:
    """Nobody can break a rule of config/policy.yaml unnoticed."""
    document = load_policy((ROOT / "config" / "policy.yaml").read_bytes(), "policy.yaml")
    tables = route_tables(document)
    assert () == failures(document, tables)
    assert [] == [(rule.model, rule.route, survivor.said) for rule in examine(document, tables) for survivor in rule.survivors]
