"""Tests of gateway.configuration.checks_order."""

from __future__ import annotations

import pytest

from gateway.configuration.load import load_policy
from gateway.configuration.problems import PolicyError

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


def routes(*matches: str) -> list[str]:
    """The messages about a model with routes a, b, c … of these matches, and a last one without."""
    body = "".join(
        f"      - {{name: {name}, match: {match}, use: fast}}\n" for name, match in zip("abcdefgh", matches, strict=False)
    )
    return [message for _, _, message in found(f"{HEAD}{body}{LAST}")]


@pytest.mark.parametrize(
    ("matches", "why"),
    [
        (["{rows: ..8}", "{rows: 9..}", "{rows: 4..20}"], "'a' (line 9) and 'b' (line 10) together take everything it does"),
        (["{any: [{tier: x}, {tier: y}]}", "{header: {h: '1'}, tier: [x, y]}"], "'a' (line 9) matches whatever this one does"),
        (
            ["{tier: x}", "{rows: ..9, scope: s}", "{rows: ..9, not: {scope: s}}", "{rows: 3}"],
            "'b' (line 10) and 'c' (line 11) tog",
        ),
        (["{rows: 1}", "{rows: 2}", "{rows: 3}", "{rows: ..3}"], "'a' (line 9), 'b' (line 10) and 'c' (line 11) together"),
        (
            [f"{{priority: {each}..{each}}}" for each in range(5)] + ["{priority: ..4}"],
            "'b' (line 10), 'c' (line 11) and 2 others tog",
        ),
    ],
)
def test_several_together(matches: list[str], why: str) -> None:
    """A route that others take from it bit by bit is named with all of them, and with none that could be missing."""
    (message,) = routes(*matches)
    assert message.startswith(f"route '{'abcdefgh'[len(matches) - 1]}' can never match: ")
    assert why in message


@pytest.mark.parametrize(
    "match", ["{all: [{tier: a}, {tier: b}]}", "{not: {}}", "{tier: a, not: {tier: [a, b]}}", "{rows: ..3, all: [{rows: 4..}]}"]
)
def test_a_match_that_contradicts_itself(match: str) -> None:
    """A match that no request can meet is a mistake wherever its route stands."""
    body = f"      - {{name: a, match: {match}, use: fast}}\n"
    assert [
        ("models.digits.routes[0].match", FIRST, "route 'a' can never match: no request can meet all its conditions")
    ] == found(f"{HEAD}{body}{LAST}")


def test_what_differs_hides_nothing() -> None:
    """Conditions on different things, or of which one has room left, leave every route reachable."""
    matches = ["{scope: s}", "{scope: t}", "{version: '1'}", "{bytes: 1MiB..}", "{text_length: {t: ..9}}", "{parameter: {p: 1}}"]
    assert [] == routes(*matches, "{parameter: {p: true}}", "{rows: ..8}")
    assert [] == routes("{rows: ..8}", "{rows: 10..}", "{rows: 4..20}")


def test_a_route_that_could_not_be_read_hides_nothing() -> None:
    """Of a route with a slip in it only the slip is told, not what it would hide nor what would hide it."""
    body = "      - {name: a, match: {teir: x}, use: fast}\n      - {name: b, match: {tier: x}, use: fast}\n"
    assert ["models.digits.routes[0].match.teir"] == [place for place, _, _ in found(f"{HEAD}{body}{LAST}")]
