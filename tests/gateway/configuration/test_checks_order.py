"""Tests of gateway.configuration.checks_order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.configuration.checks_order import covers
from gateway.configuration.load import load_policy
from gateway.configuration.problems import PolicyError
from routing.conditions import predicates
from routing.match import Match, Question, Range
from routing.principal import Principal

HEAD = """version: 1
backends:
  triton: {protocol: triton-http, endpoints: [127.0.0.1:8000]}
models:
  digits:
    variants:
      fast: {backend: triton, model: f}
    routes:
"""
FIRST = 1 + HEAD.count("\n")  # the line of the first route
LAST = "      - {name: last, use: fast}\n"


def found(text: str) -> list[tuple[str, int, str]]:
    try:
        load_policy(text.encode(), "policy.yaml")
    except PolicyError as error:
        return [(problem.path, problem.line, problem.message) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("body", "path", "below", "what"),
    [
        ("      - name: a\n        match: {tier: x}\n        use: fast\n", "routes[0].match", 1, "must have no match"),
        (f"      - {{name: a, use: fast}}\n{LAST}", "routes[1]", 1, "'last' can never match: 'a' (line 9) has no match"),
        (f"      - {{name: a, match: {{}}, use: fast}}\n{LAST}", "routes[1]", 1, "'a' (line 9) has no match"),
        (
            "      - {name: a, match: {tier: [x, y]}, use: fast}\n"
            f"      - {{name: b, match: {{tier: x, rows: 1..8}}, use: fast}}\n{LAST}",
            "routes[1]",
            1,
            "'b' can never match: 'a' (line 9) matches whatever this one does",
        ),
    ],
)
def test_routes(body: str, path: str, below: int, what: str) -> None:
    """A route that no request could ever take is named with its line and with the route that hides it."""
    ((place, line, message),) = found(HEAD + body)
    assert (f"models.digits.{path}", FIRST + below) == (place, line)
    assert what in message


def test_every_later_route_is_named() -> None:
    """All routes behind one that takes everything are named, each with the route that hides it."""
    body = "      - {name: a, use: fast}\n      - {name: b, match: {tier: x}, use: fast}\n"
    assert [
        "models.digits.routes[1]",
        "models.digits.routes[2]",
    ] == [problem[0] for problem in found(f"{HEAD}{body}{LAST}")]


WORDS = st.frozensets(st.sampled_from("ab"), max_size=2)
PAIRS = st.sets(st.sampled_from([("p", True), ("p", 1), ("q", "x")]), max_size=2).map(lambda pairs: tuple(sorted(pairs, key=str)))
RANGES = st.none() | st.builds(
    lambda low, width: Range(low, None if width is None else low + width), st.integers(0, 4), st.none() | st.integers(0, 3)
)
HEADERS = st.sampled_from([(), (("h", "1"),), (("g", "2"), ("h", "1"))])
MATCHES = st.builds(Match, tenants=WORDS, tiers=WORDS, headers=HEADERS, rows=RANGES, parameters=PAIRS)
QUESTIONS = st.builds(
    lambda tenant, tier, headers, rows, parameters: Question(
        Principal("s", tenant, tier), dict(headers), rows, dict(parameters), "", ""
    ),
    st.sampled_from("abc"),
    st.sampled_from("abc"),
    st.sets(st.sampled_from([("h", "1"), ("g", "2"), ("g", "3")])),
    st.none() | st.integers(0, 8),
    PAIRS,
)


@given(MATCHES, MATCHES, QUESTIONS)
def test_covers(wide: Match, narrow: Match, question: Question) -> None:
    """A match that is said to cover another holds for every question for which the other does."""
    holds = [all(predicate(question) for predicate in predicates(match)) for match in (wide, narrow)]
    assert covers(wide, wide)
    assert not (covers(wide, narrow) and holds[1] and not holds[0])
