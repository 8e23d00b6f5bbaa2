"""Tests of gateway.configuration.checks_limits: what binds nobody, allows everything or never decides is said with its line."""

from __future__ import annotations

import time

import pytest

from gateway.configuration.checks_limits import MAX_LIMITS
from gateway.configuration.load import load_policy
from gateway.configuration.problems import PolicyError
from gateway.configuration.tables import limits_of
from routing.limits import Allowance, Bound, Limit

HEAD = """version: 1
backends: {triton: {protocol: triton-http, endpoints: [127.0.0.1:8000]}}
models: {digits: {variants: {fast: {backend: triton, model: f}}, routes: [{name: all, use: fast}]}}
aliases: {mnist: digits}
limits:
"""
FIRST = 1 + HEAD.count("\n")


def found(*limits: str, after: str = "") -> list[tuple[str, int, str, str | None]]:
    text = HEAD + "".join(f"  - {{{each}}}\n" for each in limits) + after
    try:
        load_policy(text.encode(), "policy.yaml")
    except PolicyError as error:
        return [(problem.path, problem.line - FIRST, problem.message, problem.suggestion) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("limit", "path", "what", "meant"),
    [
        ("requests: 0/s", "limits[0].requests", "would refuse everything", None),
        ("requests: 100", "limits[0].requests", "'100' is not a rate; write it like 100/s", "100/s"),
        ("requests: 100 per minute", "limits[0].requests", "is not a rate", "100/m"),
        ("requests: 100/min", "limits[0].requests", "unknown time 'min'; a rate is per s, m, h or d", "100/m"),
        ("requests: -1/s", "limits[0].requests", "is not a rate", None),
        ("bytes: 10MB/s", "limits[0].bytes", "unknown unit 'MB'", "10MiB/s"),
        ("bytes: 10MiB", "limits[0].bytes", "is not a rate of bytes", "10MiB/s"),
        ("bytes: 0B/s", "limits[0].bytes", "would refuse everything", None),
        ("concurrency: 0", "limits[0].concurrency", "not a whole number of at least 1", None),
        ("concurrency: 3, burst: 9", "limits[0].burst", "a burst is of requests, and this limit has none", None),
        ("requests: 1/s, burst: 0", "limits[0].burst", "not a whole number of at least 1", None),
        (
            "match: {tier: free}",
            "limits[0]",
            "allows everything: it has none of requests, concurrency, bytes, cost or escalations",
            None,
        ),
        ("per: tennant, concurrency: 1", "limits[0].per", "is not one of tenant, subject, tier or model", "tenant"),
        ("per: [tenant, model], concurrency: 1", "limits[0].per", "for two write two limits, which hold together", None),
        ("name: a b, concurrency: 1", "limits[0].name", "is not a name", "a-b"),
        ("match: {model: digit}, concurrency: 1", "limits[0].match.model", "is no model, so it can never match", "digits"),
        (
            "match: {model: [digits, mnist]}, concurrency: 1",
            "limits[0].match.model",
            "is an alias; limits know the model",
            "digits",
        ),
        ("match: {tier: []}, concurrency: 1", "limits[0].match.tier", "nothing could ever match it", None),
        ("match: {teir: free}, concurrency: 1", "limits[0].match.teir", "unknown key 'teir'", "tier"),
        ("match: {header: {x-a: b}}, concurrency: 1", "limits[0].match.header", "clients choose it and nobody verifies it", None),
        ("match: {rows: 1}, concurrency: 1", "limits[0].match.rows", "clients choose it and nobody verifies it", None),
        ("match: {any: [{tier: a}]}, concurrency: 1", "limits[0].match.any", "write one limit for each case", None),
        ("per: tenant, per: model, concurrency: 1", "limits[0].per", "already", None),
        ("request: 1/s", "limits[0].request", "unknown key 'request'", "requests"),
    ],
)
def test_mistakes(limit: str, path: str, what: str, meant: str | None) -> None:
    """Each with its place, what is wrong with it and what was probably meant."""
    problems = found(limit)
    assert [(path, 0)] == [problem[:2] for problem in problems], problems
    assert what in problems[0][2]
    assert meant == problems[0][3]


@pytest.mark.parametrize(
    "limits",
    [
        ("match: {tier: nobody-has-this, tenant: [a, b], scope: batch, subject: ann, model: digits}, requests: 0.5/h",),
        (
            "requests: 10/s, burst: 1",
            "per: tenant, requests: 5/s",
            "requests: 100/s, burst: 100, match: {tier: a}, per: tier, bytes: 1B/s",
        ),
        ("requests: 10/s", "requests: 5/s, burst: 100"),
        ("per: tenant, concurrency: 4", "per: subject, concurrency: 4", "concurrency: 10"),
        ("match: {tier: a}, concurrency: 1", "match: {tier: [a, b]}, concurrency: 4"),
    ],
)
def test_good(limits: tuple[str, ...]) -> None:
    """Words that nobody may ever have are fine, and so are limits that hold together."""
    assert [] == found(*limits)


@pytest.mark.parametrize(
    ("limits", "index", "by"),
    [
        (("name: a, concurrency: 4", "name: b, concurrency: 4"), 1, "'a' (line 6)"),
        (("name: a, match: {tier: x}, concurrency: 4", "name: b, concurrency: 4"), 0, "'b' (line 7)"),
        (("name: a, concurrency: 9, per: tenant", "name: b, concurrency: 4"), 0, "'b' (line 7)"),
        (("requests: 5/s, concurrency: 2", "match: {tenant: t}, requests: 10/s"), 1, "'limit-1' (line 6)"),
    ],
)
def test_a_limit_that_never_decides(limits: tuple[str, ...], index: int, by: str) -> None:
    """Another allows no more to all that it counts: of two that say the same, the later is told."""
    ((path, line, message, _),) = found(*limits)
    assert (f"limits[{index}]", index) == (path, line)
    assert f"never decides: {by} allows no more to all that this one counts" in message


@pytest.mark.parametrize(
    "limit", ["match: {teir: x}, concurrency: 1", "match: {tier: 7}, concurrency: 1", "per: tenent, concurrency: 1"]
)
def test_a_limit_that_could_not_be_read_decides_nothing(limit: str) -> None:
    """Whom it binds nobody knows, so no other limit is told that it never decides."""
    assert ["limits[0]"] == [problem[0][:9] for problem in found(limit, "match: {tier: x}, concurrency: 5")]


def test_names() -> None:
    """No name twice, those made from places among them."""
    problems = found(
        "name: limit-2, concurrency: 1", "match: {tier: a}, bytes: 1B/s", "name: a, bytes: 9B/s", "name: a, requests: 1/s"
    )
    assert [("limits[1].name", 1), ("limits[3].name", 3)] == [problem[:2] for problem in problems]
    assert "'limit-2' is already the name of the limit on line 6" == problems[0][2]


def test_a_test_of_limits() -> None:
    """It names limits that are there; that none shall count is an expectation, too."""
    test = "tests: [{name: t, request: {model: digits}, expect: {limits: EXPECTED}}]\n"
    assert [] == found("name: some, match: {tier: a}, concurrency: 1", after=test.replace("EXPECTED", "[]"))
    ((path, _, message, meant),) = found("name: some, concurrency: 1", after=test.replace("EXPECTED", "[sone]"))
    assert ("tests[0].expect.limits", "some") == (path, meant)
    assert "unknown limit 'sone'" in message
    assert 1 == len(found("name: some, requests: 0/s", after=test.replace("EXPECTED", "[some]")))  # one slip is one problem


def test_too_many() -> None:
    """A limit for each tenant is said to be one limit; as many as may be are checked in no time."""
    many = [f"match: {{tenant: t{number}}}, concurrency: {number + 1}" for number in range(MAX_LIMITS + 1)]
    ((path, _, message, _),) = found(*many)
    assert "limits" == path
    assert "one `per: tenant` has a bucket for each" in message
    begin = time.process_time()
    assert [] == found(*many[1:])
    assert time.process_time() - begin < 3


def test_values() -> None:
    """A limit's words, and its amounts per second; a rate lets as many come at once as it counts."""
    text = HEAD + "  - {name: a, match: {tier: [x, y], model: digits}, per: tenant, requests: 6000/m, concurrency: 4}\n"
    text += "  - {requests: 0.5/s}\n  - {requests: 100/s, burst: 7, bytes: 1.5KiB/s}\n"
    assert (
        Limit(
            "a",
            Bound(tiers=frozenset({"x", "y"}), models=frozenset({"digits"})),
            "tenant",
            (Allowance("requests", 6000, 100.0), Allowance("concurrency", 4)),
        ),
        Limit("limit-2", Bound(), "", (Allowance("requests", 1, 0.5),)),
        Limit("limit-3", Bound(), "", (Allowance("requests", 7, 100.0), Allowance("bytes", 1536, 1536.0))),
    ) == limits_of(load_policy(text.encode(), "policy.yaml"))
