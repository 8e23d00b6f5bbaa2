"""Conditions of routes."""

import pytest

from routing.conditions import predicates, same
from routing.match import Match, Question, Range
from routing.principal import Principal


def question(**changes: object) -> Question:
    """A plain question with some of its parts replaced."""
    parts: dict[str, object] = {
        "principal": Principal("ann", "acme", "gold"),
        "headers": {},
        "rows": 1,
        "parameters": {},
        "version": "",
        "request_id": "r-1",
    }
    return Question(**(parts | changes))  # type: ignore[arg-type]


def holds(match: Match, asked: Question) -> bool:
    return all(predicate(asked) for predicate in predicates(match))


def test_empty_match_holds_for_everything() -> None:
    """A route without conditions takes every question."""
    assert holds(Match(), question())


@pytest.mark.parametrize(
    ("match", "yes", "no"),
    [
        (Match(tenants=frozenset({"acme"})), {}, {"principal": Principal("ann", "other")}),
        (Match(tiers=frozenset({"gold", "silver"})), {}, {"principal": Principal("ann", "acme", "")}),
        (Match(headers=(("x-a", "1"),)), {"headers": {"x-a": "1"}}, {"headers": {"x-a": "2"}}),
        (Match(rows=Range(2, 4)), {"rows": 4}, {"rows": 5}),
        (Match(rows=Range(0)), {"rows": 0}, {"rows": None}),
        (Match(parameters=(("fast", True),)), {"parameters": {"fast": True}}, {"parameters": {"fast": 1}}),
    ],
)
def test_each_condition_holds_and_fails(match: Match, yes: dict[str, object], no: dict[str, object]) -> None:
    """Tenant, tier, header, rows and parameter each decide by themselves."""
    assert holds(match, question(**yes))
    assert not holds(match, question(**no))


def test_all_conditions_must_hold() -> None:
    """One failing condition is enough to pass a route over."""
    match = Match(tenants=frozenset({"acme"}), rows=Range(2))
    assert holds(match, question(rows=2))
    assert not holds(match, question(rows=1))


def test_parameter_equality_minds_booleans() -> None:
    """`true` is not `1`, but `1` is `1.0`."""
    assert not same(True, 1)
    assert same(1, 1.0)
    assert not same(None, "x")
