"""A document's own tests, held against its own routes."""

from __future__ import annotations

import pytest

from gateway.compile import blueprint
from gateway.configuration.load import load_policy
from gateway.configuration.problems import PolicyError
from gateway.configuration.tables import route_tables
from gateway.review.trial import Failure, failures

POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:1"]}}
aliases: {mnist: digits}
limits: [{name: free, match: {tier: free}, requests: 1/s}, {name: all, per: model, concurrency: 4}]
models:
  digits:
    timeout: 2s
    variants:
      fast: {backend: triton, model: f, cost: 1}
      balanced: {backend: triton, model: b, cost: 6}
      accurate: {backend: triton, model: a, version: "1", cost: 40}
    routes:
      - {name: enterprise, match: {tier: enterprise}, use: accurate}
      - {name: halves, match: {header: {x-half: "1"}}, split: {fast: 75, balanced: 25}, unit: tenant}
      - {name: nested, match: {any: [{tenant: acme}, {rows: 64..}]}, use: balanced, timeout: 10s}
      - {name: default, cascade: {confidence: {output: p, metric: margin}, stages: [{use: fast, accept: 0.5}, {use: accurate}]}}
tests:
"""


def failed(*tests: str) -> tuple[Failure, ...]:
    lines = "".join(f"  - {{name: t{index}, {test}}}\n" for index, test in enumerate(tests))
    document = load_policy((POLICY + lines).encode(), "policy.yaml")
    return failures(document, route_tables(document))


@pytest.mark.parametrize(
    "test",
    [
        "request: {model: digits, principal: {tier: enterprise}}, expect: {route: enterprise, use: accurate}",
        "request: {model: mnist, principal: {tier: enterprise}}, expect: {route: enterprise}",
        "request: {model: digits}, expect: {cascade: [fast, accurate], timeout: 2s}",
        "request: {model: digits, rows: 64}, expect: {timeout: 10s}",
        "request: {model: digits, headers: {X-Half: '1'}}, expect: {route: halves}",
        "request: {model: digits, headers: {x-half: '1'}, request_id: r1}, expect: {use: fast}",
        "request: {model: digits, principal: {scopes: ['models:infer:digits']}}, expect: {route: default}",
        "request: {model: mnist, principal: {scopes: ['models:infer:mnist']}}, expect: {refused: forbidden}",
        "request: {model: nothing}, expect: {refused: not-found}",
        "request: {model: digits, version: '3'}, expect: {refused: version}",
        "request: {model: digits, principal: {tier: enterprise}, version: '3'}, expect: {refused: version}",
        "request: {model: digits, principal: {tier: enterprise}, version: '1'}, expect: {use: accurate}",
        "request: {model: mnist, principal: {tier: free}}, expect: {limits: [free, all], route: default}",
        "request: {model: digits}, expect: {limits: all}",
        "request: {model: digits, headers: {x-half: '1'}}, expect: {limits: [all]}",
    ],
)
def test_what_holds_says_nothing(test: str) -> None:
    """A test whose expectations come true is no failure."""
    assert () == failed(test)


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (
            "request: {model: digits, principal: {tier: free}}, expect: {route: enterprise, use: accurate}",
            "test 't0' fails: expected route 'enterprise', use 'accurate'; came route 'default', cascade fast → accurate;"
            " route 'enterprise' is missed: tier is 'free', wanted enterprise",
        ),
        (
            "request: {model: digits, rows: 64, principal: {tier: enterprise}}, expect: {route: nested, timeout: 1s}",
            "test 't0' fails: expected route 'nested', timeout 1s; came route 'enterprise', use 'accurate', timeout 2s;"
            " route 'nested' is not reached: 'enterprise' stands before it and takes the request",
        ),
        (
            "request: {model: digits}, expect: {route: nested}",
            "test 't0' fails: expected route 'nested'; came route 'default', cascade fast → accurate;"
            " route 'nested' is missed: none of its 'any' holds (has no tenant, wanted acme; rows is 1, wanted 64..)",
        ),
        (
            "request: {model: digits, headers: {x-half: '1'}}, expect: {use: fast}",
            "test 't0' fails: expected use 'fast'; came in 25 % of such requests route 'halves', use 'balanced' or in 75 % of"
            " such requests route 'halves', use 'fast';"
            " nothing in the request decides the split by tenant: give it one, or a request_id",
        ),
        (
            "request: {model: digits, version: '1'}, expect: {route: default}",
            "test 't0' fails: expected route 'default'; came refused: version (route 'default' is a cascade of several models:"
            " ask without a version)",
        ),
        (
            "request: {model: digits}, expect: {refused: version}",
            "test 't0' fails: expected refused: version; came route 'default', cascade fast → accurate",
        ),
        (
            "request: {model: digits, principal: {tier: free}}, expect: {route: default, limits: []}",
            "test 't0' fails: expected route 'default', no limits; came route 'default', cascade fast → accurate,"
            " limits all, free",
        ),
        (
            "request: {model: digits, principal: {scopes: [none]}}, expect: {limits: [all]}",
            "test 't0' fails: expected limits all; came refused: forbidden (this credential may not use model 'digits'; it needs"
            " scope 'models:infer' or 'models:infer:digits'), no limits",
        ),
    ],
)
def test_what_fails_says_why(test: str, message: str) -> None:
    """A failure tells what was expected, what came, and which condition decided it."""
    assert [message] == [failure.message for failure in failed(test)]


def test_a_document_that_fails_its_own_tests_is_refused() -> None:
    """At the line of the test, with all that fail."""
    tests = [
        "  - {name: good, request: {model: digits}, expect: {route: default}}\n",
        "  - name: one\n    request: {model: digits}\n    expect: {use: fast}\n",
        "  - {name: two, request: {model: digits}, expect: {refused: version}}\n",
    ]
    text = POLICY + "".join(tests)
    blueprint((POLICY + tests[0]).encode(), "policy.yaml")
    with pytest.raises(PolicyError) as refused:
        blueprint(text.encode(), "policy.yaml")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if "name: one" in line or "name: two" in line]
    assert lines == [problem.line for problem in refused.value.problems]
    assert ["tests[1]", "tests[2]"] == [problem.path for problem in refused.value.problems]


def test_of_thousands_that_fail_a_hundred_are_told() -> None:
    """A document whose every test fails is refused soon: what nobody reads is not explained."""
    routes = [f"      - {{name: r{index}, match: {{rows: {index + 2}}}, use: v}}" for index in range(300)]
    tests = [f"  - {{name: t{index}, request: {{model: m}}, expect: {{route: r{index}}}}}" for index in range(300)]
    text = "\n".join(
        [
            "version: 1",
            "backends: {b: {protocol: triton-http, endpoints: ['127.0.0.1:1']}}",
            "models:",
            "  m:",
            "    variants: {v: {backend: b, model: x}}",
            "    routes:",
            *routes,
            "      - {name: rest, use: v}",
            "tests:",
            *tests,
        ]
    ).encode()
    with pytest.raises(PolicyError) as refused:
        blueprint(text, "policy.yaml")
    assert 100 == len(refused.value.problems)
