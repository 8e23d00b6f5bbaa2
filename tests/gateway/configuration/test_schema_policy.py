"""Tests of gateway.configuration.schema_policy: the values only a policy has."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.configuration.load import load_policy
from gateway.configuration.problems import PolicyError, UnreadableError
from gateway.configuration.schema_costs import Cost
from gateway.configuration.schema_policy import (
    LATER_PROTOCOLS,
    Breaker,
    Health,
    Hedge,
    Retry,
    read_counts,
    read_header,
    read_header_value,
    read_priorities,
    read_rows,
    read_sizes,
    read_unit,
    read_version,
    read_version_policy,
)
from routing.match import Range, Versions

Read = Callable[[object], object]


@pytest.mark.parametrize(
    ("written", "rows"),
    [
        (4, Range(4, 4)),
        ("1..8", Range(1, 8)),
        ("8..8", Range(8, 8)),
        ("16..", Range(16, None)),
        ("..8", Range(1, 8)),
        ("0..8", Range(1, 8)),
        ("0..", Range(1, None)),
    ],
)
def test_rows(written: object, rows: Range) -> None:
    """Rows are a number or a range with both ends included, either of which may be left out."""
    assert rows == read_rows(written)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("8..1", "1..8"),
        (">=16", "16.."),
        ("> 16", "17.."),
        ("<=8", "..8"),
        ("<8", "..7"),
        ("..", None),
        ("4", "4"),
        ("1-8", "1..8"),
        (0, "1"),
        ("..0", "..1"),
        ("0..0", "..1"),
        ("<1", "..1"),
        ("0", None),
        ("1...8", None),
        ("-1..8", None),
        (-1, None),
        (1.5, None),
        (True, None),
        (None, None),
        ("", None),
        ([1, 8], None),
    ],
)
def test_no_rows(written: object, meant: str | None) -> None:
    """Other ways to write a range are refused, with the way it is written here."""
    with pytest.raises(UnreadableError) as refused:
        read_rows(written)
    assert meant == refused.value.suggestion


@pytest.mark.parametrize(
    ("read", "written", "range_"),
    [
        (read_counts, 0, Range(0, 0)),
        (read_counts, "0..8", Range(0, 8)),
        (read_counts, "200..", Range(200, None)),
        (read_counts, "..80", Range(0, 80)),
        (read_priorities, 0, Range(0, 0)),
        (read_priorities, "..3", Range(0, 3)),
        (read_priorities, "7..", Range(7, 9)),
        (read_priorities, "0..9", Range(0, 9)),
        (read_sizes, "1MiB..", Range(1 << 20, None)),
        (read_sizes, "..64KiB", Range(0, 1 << 16)),
        (read_sizes, "1.5KiB..4 KiB", Range(1536, 4096)),
        (read_sizes, "0B..0B", Range(0, 0)),
    ],
)
def test_ranges(read: Read, written: object, range_: Range) -> None:
    """Lengths may be 0, priorities end at 9, sizes have units."""
    assert range_ == read(written)


@pytest.mark.parametrize(
    ("read", "written", "meant"),
    [
        (read_counts, "<1", "..0"),
        (read_counts, "10-20", "10..20"),
        (read_counts, "9..1", "1..9"),
        (read_counts, -1, None),
        (read_counts, True, None),
        (read_counts, "..", None),
        (read_counts, None, None),
        (read_counts, "1KiB..", None),
        (read_priorities, 10, None),
        (read_priorities, "8..12", None),
        (read_priorities, "3..0", "0..3"),
        (read_priorities, "<=3", "..3"),
        (read_priorities, "high", None),
        (read_sizes, "1MiB", "1MiB.."),
        (read_sizes, "1 MB", "1 MB.."),
        (read_sizes, 1024, None),
        (read_sizes, "..", None),
        (read_sizes, "1024..", None),
        (read_sizes, "1MB..", "1MiB"),
        (read_sizes, "4KiB..1KiB", "1KiB..4KiB"),
        (read_sizes, "2000GiB..", None),
        (read_sizes, ["1KiB"], None),
        (read_version_policy, "last(2)", "latest(2)"),
        (read_version_policy, "latest(0)", "latest(2)"),
        (read_version_policy, "Latest( 3 )", "latest(3)"),
        (read_version_policy, "latest", "latest(2)"),
        (read_version_policy, "specific 1, 10", "specific(1, 10)"),
        (read_version_policy, "2", None),
        (read_version_policy, "specific( 1 ,2 )", "specific(1, 2)"),
        (read_version_policy, "specific()", "specific(1, 3)"),
        (read_version_policy, "All", "all"),
        (read_version_policy, 2, "latest(2)"),
        (read_version_policy, "", None),
        (read_version_policy, None, "latest(2)"),
        (read_version_policy, ["1"], "latest(1)"),
    ],
)
def test_no_ranges(read: Read, written: object, meant: str | None) -> None:
    """What is written otherwise is refused, with what it probably means."""
    with pytest.raises(UnreadableError) as refused:
        read(written)
    assert meant == refused.value.suggestion


@pytest.mark.parametrize(
    ("written", "versions"),
    [
        ("all", Versions()),
        ("latest(2)", Versions(latest=2)),
        ("specific(1)", Versions(frozenset("1"))),
        ("specific(1,3, 10)", Versions(frozenset({"1", "3", "10"}))),
    ],
)
def test_version_policy(written: str, versions: Versions) -> None:
    """As Triton has it in a model's own configuration, in a word."""
    assert versions == read_version_policy(written)


def test_header() -> None:
    """A header's name has no case."""
    assert "x-experiment" == read_header("X-Experiment")


@pytest.mark.parametrize(
    "name", ["x-penstock-route", "X-Penstock-Anything", "Authorization", "x-api-key", "cookie", "a b", "x:", "ä", ""]
)
def test_no_header(name: str) -> None:
    """Our own headers can never match, credentials do not belong into a policy, and the rest must be a header's name."""
    with pytest.raises(UnreadableError):
        read_header(name)


def test_header_value() -> None:
    """A value that could never arrive is refused."""
    assert "a b" == read_header_value("a b")
    for value in (" a", "a\nb", "", 1):
        with pytest.raises(UnreadableError):
            read_header_value(value)


@pytest.mark.parametrize(("text", "unit"), [("tenant", "tenant"), ("request", "request"), ("header:X-User", "header:x-user")])
def test_unit(text: str, unit: str) -> None:
    """A split sticks to the tenant, the subject, a header's value, or to nothing."""
    assert unit == read_unit(text)


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (read_unit, "user"),
        (read_unit, "header:"),
        (read_unit, "header:x-penstock-route"),
        (read_version, 2),
        (read_version, "1"),
        (read_version, True),
        (read_version, 1.0),
    ],
)
def test_refused(read: Read, value: object) -> None:
    """Nothing else is a unit or a version."""
    with pytest.raises(UnreadableError):
        read(value)


@pytest.mark.parametrize(
    ("read", "written", "meant"),
    [
        (read_unit, "tennant", "tenant"),
        (read_unit, "haeder:x-user", "header:x-user"),
        (read_unit, "header", "header:<name>"),
    ],
)
def test_what_was_meant(read: Read, written: str, meant: str | None) -> None:
    """A misspelt unit brings the right one, the name behind the colon kept."""
    with pytest.raises(UnreadableError) as refused:
        read(written)
    assert meant == refused.value.suggestion


POLICY = """version: 1
backends:
  triton:
    protocol: triton-http
    endpoints: [127.0.0.1:8000]
models:
  digits:
    variants: {fast: {backend: triton, model: f}}
    routes: [{name: a, match: {tier: x}, use: fast}, {name: b, use: fast}]
"""


RULES = """    protocol: triton-http
    balance: hash
    retry: {attempts: 3, budget: 5%}
    hedge: {after: p90, budget: 1%}
    breaker: {failures: 2, open: 10s}
    health: {interval: 500ms, timeout: 100ms}
"""


def test_rules_of_a_backend() -> None:
    """Durations in seconds, shares of 1; without keys breaker and health have their defaults, and nothing is repeated."""
    backend = load_policy(POLICY.replace("    protocol: triton-http\n", RULES).encode(), "policy.yaml").backends["triton"]
    assert ("hash", Retry(3, 0.05), Hedge(0.9, 0.01)) == (backend.balance, backend.retry, backend.hedge)
    assert (Breaker(2, 10.0), Health(0.5, 0.1)) == (backend.breaker, backend.health)
    plain = load_policy(POLICY.encode(), "policy.yaml").backends["triton"]
    assert (None, None, Breaker(5, 3.0), Health(2.0, 1.0)) == (plain.retry, plain.hedge, plain.breaker, plain.health)
    partly = load_policy(POLICY.replace("    protocol: triton-http\n", RULES.replace("budget: 1%", "")).encode(), "policy.yaml")
    assert Hedge(0.9, 0.05) == partly.backends["triton"].hedge


@pytest.mark.parametrize(
    ("was", "wrong", "message", "meant"),
    [
        ("attempts: 3", "attempts: 1", "'1' is not a whole number from 2, the first attempt included, to 10", None),
        ("attempts: 3", "attempts: 11", "'11' is not a whole number from 2, the first attempt included, to 10", None),
        ("after: p90", "after: 95%", "'95%' is not one of p50 to p99", "p95"),
        ("after: p90", "after: p100", "'p100' is not one of p50 to p99", None),
        ("after: p90", "after: 90", "'90' is not one of p50 to p99", "p90"),
        ("budget: 5%", "budget: 101%", "is more than 100%", None),
        ("failures: 2", "failures: 0", "'0' is not a whole number of at least 1", None),
        ("open: 10s", "opened: 10s", "unknown key 'opened'", "open"),
        ("interval: 500ms", "interval: 0s", "a timeout must be longer than 0", None),
    ],
)
def test_mistaken_rules(was: str, wrong: str, message: str, meant: str | None) -> None:
    """Each says what would do."""
    text = POLICY.replace("    protocol: triton-http\n", RULES.replace(was, wrong))
    with pytest.raises(PolicyError) as refused:
        load_policy(text.encode(), "policy.yaml")
    (problem,) = refused.value.problems
    assert message in problem.message
    assert meant == problem.suggestion


def test_nested_matches() -> None:
    """Matches lie in one another as deep as YAML may, each with every condition there is."""
    inner = "{scope: a, version: ['1'], bytes: 1KiB.., priority: ..3, text_length: {prompt: 5}, not: {tenant: t}}"
    document = load_policy(POLICY.replace("tier: x", f"any: [{inner}, {{all: [{{tier: y}}]}}]").encode(), "policy.yaml")
    match = document.models["digits"].routes[0].match
    assert match is not None
    first, second = match.any
    assert (("a",), ("1",), Range(1024), Range(0, 3), {"prompt": Range(5, 5)}) == (
        first.scope,
        first.version,
        first.bytes,
        first.priority,
        first.text_length,
    )
    assert first.never is not None
    assert (("t",), ("y",)) == (first.never.tenant, second.all[0].tier)


@pytest.mark.parametrize(
    ("condition", "path", "meant"),
    [
        ("any: [{teir: a}]", "any[0].teir", "tier"),
        ("any: {tier: a}", "any", None),
        ("all: []", "all", None),
        ("not: {not: {rows: 1-8}}", "not.not.rows", "1..8"),
        ("text_length: 5", "text_length", None),
        ("text_length: {prompt: '>=5'}", "text_length.prompt", "5.."),
        ("byte: 1KiB..", "byte", "bytes"),
        ("never: {tier: a}", "never", None),
    ],
)
def test_nested_mistakes(condition: str, path: str, meant: str | None) -> None:
    """They are named where they stand."""
    with pytest.raises(PolicyError) as refused:
        load_policy(POLICY.replace("tier: x", condition).encode(), "policy.yaml")
    (problem,) = refused.value.problems
    assert (f"models.digits.routes[0].match.{path}", 9, meant) == (problem.path, problem.line, problem.suggestion)


@pytest.mark.parametrize("protocol", LATER_PROTOCOLS)
def test_later_protocols(protocol: str) -> None:
    """Protocols of later versions are told from misspelt ones."""
    with pytest.raises(PolicyError, match=f"'{protocol}' is not supported by this version yet"):
        load_policy(POLICY.replace("triton-http", protocol).encode(), "policy.yaml")


def test_defaults() -> None:
    """What a policy need not say has a default."""
    document = load_policy(POLICY.encode(), "policy.yaml")
    backend = document.backends["triton"]
    assert ("least-request", 256) == (backend.balance, backend.max_in_flight)
    model = document.models["digits"]
    assert (30.0, {}) == (model.timeout, model.fallback)
    assert ("", Cost(), None) == (model.variants["fast"].version, model.variants["fast"].cost, model.variants["fast"].timeout)
    assert (Versions(), 0.0) == (model.version_policy, model.routes[0].sample)
    assert ({}, (), ()) == (document.aliases, document.tests, document.without)


def test_a_request_in_a_test() -> None:
    """It says no more than it must: a caller who may ask, one row."""
    entry = "tests: [{name: t, request: {model: digits}, expect: {use: fast}}]\n"
    (test,) = load_policy(f"{POLICY}{entry}".encode(), "policy.yaml").tests
    assert (("models:infer",), 1, None, {}, "") == (
        test.request.principal.scopes,
        test.request.rows,
        test.request.priority,
        test.request.headers,
        test.request.version,
    )


@pytest.mark.parametrize(
    ("written", "what"), [("1", "without quotes"), (2, "must be 1"), (True, "must be 1"), (1.0, "must be 1")]
)
def test_no_version(written: object, what: str) -> None:
    """Whoever has the right one in quotes is told so."""
    with pytest.raises(UnreadableError, match=what):
        read_version(written)
