"""Limits that no test would miss are found, with the tests that would."""

from __future__ import annotations

import pytest

from gateway.configuration.load import load_policy
from gateway.configuration.tables import route_tables
from gateway.review.mutate import Rule, examine
from gateway.review.trial import failures

POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:1"]}}
models:
  digits: {variants: {fast: {backend: triton, model: f}}, routes: [{name: default, use: fast}]}
  letters: {variants: {fast: {backend: triton, model: f}}, routes: [{name: default, use: fast}]}
limits:
LIMITStests:
  - {name: digits, request: {model: digits, principal: {tier: none}}, expect: {use: fast}}
  - {name: letters, request: {model: letters, principal: {tier: none}}, expect: {use: fast}}
"""
LIMITS = (
    "name: one, match: {tier: [free, trial]}, per: tenant, requests: 1/s",
    "name: two, match: {scope: batch, model: digits}, concurrency: 4",
    "name: three, match: {tenant: acme, subject: ann}, bytes: 1MiB/s",
    "name: all, requests: 100/s",
    "name: scoped, match: {scope: ['models:infer', 'models:infer:digits']}, concurrency: 9",
)


def examined(*tests: str, limits: tuple[str, ...] = LIMITS) -> list[Rule]:
    text = POLICY.replace("LIMITS", "".join(f"  - {{{each}}}\n" for each in limits))
    document = load_policy((text + "".join(f"  {line}\n" for line in tests)).encode(), "policy.yaml")
    tables = route_tables(document)
    assert () == failures(document, tables)
    return [rule for rule in examine(document, tables) if not rule.model]


def test_untested() -> None:
    """Each limit with what could be wrong with it."""
    found = {rule.route: [survivor.said for survivor in rule.survivors] for rule in examined()}
    assert {
        "one": ["it is taken away", "'tier free or trial' is left out"],
        "two": ["it is taken away", "'scope batch' is left out", "'model digits' is left out"],
        "three": ["it is taken away", "'tenant acme' is left out", "'subject ann' is left out"],
        "all": ["it is taken away"],
        "scoped": ["it is taken away"],
    } == {name: [each for each in said if "models:infer" not in each] for name, said in found.items()}


def test_suggested_tests_notice() -> None:
    """With every test that is suggested added, no limit is left untested; these tests hold."""
    suggested = dict.fromkeys(survivor.test for rule in examined() for survivor in rule.survivors)
    rules = examined(*(line for test in suggested for line in test))
    assert [] == [(rule.called, survivor.said) for rule in rules for survivor in rule.survivors]
    assert [("limits", index) for index in range(len(LIMITS))] == [rule.path for rule in rules]


@pytest.mark.parametrize(
    ("test", "survivors"),
    [
        ("expect: {limits: [all, scoped]}", ["it is taken away"]),
        ("principal: {tier: trial}}, expect: {limits: [one, all, scoped]}", ["'tier free or trial' is left out"]),
        ("principal: {tier: trial}}, expect: {use: fast}", ["it is taken away", "'tier free or trial' is left out"]),
    ],
)
def test_noticed(test: str, survivors: list[str]) -> None:
    """A test that expects limits notices one that is gone, or one too many; a test that expects none of them notices nothing."""
    request = f"{{model: letters, {test}" if "principal" in test else f"{{model: letters}}, {test}"
    rules = examined(f"- {{name: t, request: {request}}}")
    assert survivors == [survivor.said for survivor in rules[0].survivors]
