"""Tests of gateway.configuration.checks_versions."""

from __future__ import annotations

import pytest

from gateway.configuration.load import load_policy
from gateway.configuration.problems import PolicyError

POLICY = """version: 1
backends:
  triton: {protocol: triton-http, endpoints: [127.0.0.1:8000]}
models:
  digits:
    version_policy: specific(1, 3)
    variants:
      open: {backend: triton, model: f}
      word: {backend: triton, model: f, version: "1"}
    routes:
      - {name: first, match: {tier: x}, use: word}
      - {name: last, use: open}
"""


def found(text: str) -> list[tuple[str, int, str]]:
    try:
        load_policy(text.encode(), "policy.yaml")
    except PolicyError as error:
        return [(problem.path, problem.line, problem.message) for problem in error.problems]
    return []


def routed(match: str, text: str = POLICY) -> list[tuple[str, int, str]]:
    """What is wrong with the policy when its first route has this match; paths from there on."""
    start = "models.digits.routes[0].match."
    return [(path.removeprefix(start), line, message) for path, line, message in found(text.replace("{tier: x}", match))]


@pytest.mark.parametrize("policy", ["specific(1, 3)", "specific(1)", "latest(1)", "all", "specific(3,1)"])
def test_good(policy: str) -> None:
    """What makes sense is not complained of."""
    assert [] == found(POLICY.replace("specific(1, 3)", policy))
    assert [] == routed('{version: ["1"], scope: "models:infer", any: [{tier: a}, {not: {tier: b}}]}')


def test_a_variant_pinned_to_a_version_that_is_kept_back() -> None:
    """Nobody could ask for what this variant answers with."""
    message = "no client may ask for version '2': version_policy has 1, 3"
    assert [("models.digits.variants.word.version", 9, message)] == found(POLICY.replace('"1"', '"2"'))


def test_versions_that_there_cannot_be() -> None:
    """A backend counts from 1; a word is a version only where a variant is pinned to it."""
    text = POLICY.replace("specific(1, 3)", "specific(1, x, 0)")
    assert [
        ("models.digits.version_policy", 6, "'0' is no version: versions are whole numbers from 1"),
        ("models.digits.version_policy", 6, "'x' is no version: versions are whole numbers from 1"),
    ] == found(text)
    assert [] == found(POLICY.replace("specific(1, 3)", "specific(x)").replace('"1"', "x"))


def test_a_version_that_no_request_could_name() -> None:
    """A route for it would never be taken, however deep the condition lies."""
    kept = "no client may ask for version '2': version_policy has 1, 3"
    assert [("version", 11, kept)] == routed('{version: ["1", "2"]}')
    assert [("any[1].not.version", 11, kept)] == routed('{any: [{tier: x}, {not: {version: "2"}}]}')
    nothing = "'new' is no version: versions are whole numbers from 1"
    assert [("version", 11, nothing)] == routed("{version: new}", POLICY.replace("specific(1, 3)", "latest(2)"))


@pytest.mark.parametrize("scope", ["'a b'", '["models:infer", "a b"]', "'é'", "'\"'"])
def test_no_scope(scope: str) -> None:
    """A token's scopes are words of ASCII with spaces between them (RFC 6749, section 3.3)."""
    ((path, line, message),) = routed(f"{{scope: {scope}}}")
    assert ("scope", 11) == (path, line)
    assert message.endswith("is not a scope: scopes have no spaces; several are a list")


@pytest.mark.parametrize(
    ("match", "path"), [("{any: [{tier: x}, {}]}", "any[1]"), ("{all: [{not: {all: [{}]}}]}", "all[0].not.all[0]")]
)
def test_a_match_that_says_nothing(match: str, path: str) -> None:
    """Inside another it is a slip: the route needs none to take everything."""
    assert (path, 11, "has no conditions, so it holds for every request; leave it out") in routed(match)
