"""Rules with one small thing wrong."""

from __future__ import annotations

import random

import pytest

from gateway.review.mutants import mutants, parts
from routing.conditions import predicates
from routing.explain import Explainer
from routing.match import Cascade, Match, Question, Range, Route, RouteTable, Split, Use
from routing.plan import Confidence, Stage, Target
from routing.principal import Principal

FAST, DEAR, LAST = (Target(name, "t", name) for name in ("fast", "dear", "last"))
GOLD, ACME, MANY = Match(tiers=frozenset({"gold"})), Match(tenants=frozenset({"acme"})), Match(rows=Range(4))
BOTH = Match(tiers=frozenset({"gold"}), rows=Range(4))
REST = Route("rest", Match(), Use(FAST), 1.0)
CONFIDENCE = Confidence("p", "margin")


def said(*routes: Route, index: int = 0) -> list[str]:
    return [mutant.said for mutant in mutants(RouteTable("digits", routes), index)]


def test_a_plain_route() -> None:
    """Taken away, every condition left out or turned round, moved down, another variant in its place."""
    assert [
        "it is taken away",
        "'tier gold' is left out",
        "'tier gold' is turned round",
        "'rows 4..' is left out",
        "'rows 4..' is turned round",
        "it stands below 'rest'",
        "it uses 'fast'",
    ] == said(Route("both", BOTH, Use(DEAR), 1.0), REST)


def test_the_last_route_of_one_variant() -> None:
    """There is not much that could be wrong with it."""
    assert ["it is taken away"] == said(REST)


def test_options_of_any() -> None:
    """Each can be missing, and all of it can be turned round."""
    found = said(Route("any", Match(some=(GOLD, MANY)), Use(FAST), 1.0), REST)
    assert "'tier gold' is left out of its 'any'" in found
    assert "'any of (tier gold; rows 4..)' is turned round" in found


def test_splits_and_cascades() -> None:
    """A side that nobody gets, a stage that is missing; a side of no weight cannot be missed."""
    split = Route("split", GOLD, Split(((FAST, 1), (DEAR, 3), (LAST, 0)), "tenant"), 1.0)
    assert ["its split gives 'fast' nobody", "its split gives 'dear' nobody"] == said(split, REST)[-2:]
    cascade = Route("cascade", GOLD, Cascade(CONFIDENCE, (Stage(FAST, 0.5), Stage(DEAR))), 1.0)
    assert ["its cascade lacks the stage 'fast'", "its cascade lacks the stage 'dear'"] == said(cascade, REST)[-2:]


def test_every_kind_of_condition_is_a_part() -> None:
    """The part and the rest are together the match."""
    match = Match(
        tenants=frozenset({"a"}), tiers=frozenset({"b"}), scopes=frozenset({"c"}), versions=frozenset({"1"}),
        headers=(("h", "1"), ("i", "2")), parameters=(("p", True),), rows=Range(1, 2), size=Range(3), priority=Range(0, 3),
        text_lengths=(("t", Range(5)),), prompts=(("r", Range(5)),),
        parameter_ranges=(("n", Range(5)),), every=(GOLD,), some=(ACME, MANY), never=GOLD,
    )  # fmt: skip
    found = list(parts(match))
    assert len(predicates(match)) == len(found)
    assert {len(predicates(match)) - 1} == {len(predicates(rest)) for rest, _ in found}
    assert {1} == {len(predicates(only)) for _, only in found}


@pytest.mark.parametrize("seed", range(20))
def test_what_a_mutant_shows_is_what_it_changes(seed: int) -> None:
    """The routes of a question differ exactly where no earlier route takes it and one of `shows` matches."""
    chance = random.Random(seed)
    matches = [GOLD, ACME, BOTH, Match(some=(ACME, MANY)), Match(never=BOTH), Match(every=(GOLD, ACME))]
    routes = [Route(f"r{at}", match, Use(FAST), 1.0) for at, match in enumerate(chance.sample(matches, 3))]
    table = RouteTable("digits", (*routes, REST))
    before = Explainer(table)
    for index in range(3):
        for mutant in mutants(table, index):
            after = Explainer(RouteTable("digits", (*table.routes[:index], mutant.route, *table.routes[index + 1 :])))
            for question in QUESTIONS:
                first = before.hit(question)
                reached = first is None or first >= index
                shown = reached and any(all(holds(question) for holds in predicates(match)) for match in mutant.shows)
                changed = first != after.hit(question) or (first == index and mutant.route.action != table.routes[index].action)
                assert shown == changed, mutant.said


QUESTIONS = [
    Question(Principal("", tenant, tier), {}, rows, {}, "", "r")
    for tenant in ("", "acme", "bigco")
    for tier in ("", "gold", "free")
    for rows in (1, 4)
]
