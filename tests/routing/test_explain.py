"""Why a question goes where it goes."""

from __future__ import annotations

import msgspec

from routing.explain import Explainer, Finding, only
from routing.match import Match, Question, Range, Route, RouteTable, Split, Use
from routing.plan import Plan, Target
from routing.principal import Principal

FAST, DEAR, IDLE = (Target(name, "t", name) for name in ("fast", "dear", "idle"))
GOLD = Route("gold", Match(tiers=frozenset({"gold"}), rows=Range(4)), Use(DEAR), 1.0)
EITHER = Route("either", Match(some=(Match(tenants=frozenset({"acme"})), Match(parameters=(("p", True),)))), Use(FAST), 1.0)
REST = Route("rest", Match(), Split(((FAST, 75), (DEAR, 25), (IDLE, 0)), "tenant"), 1.0)
LAST = Route("last", Match(), Use(DEAR), 1.0)
ROUTES = Explainer(RouteTable("digits", (GOLD, EITHER, REST, LAST)))


def asked(tier: str = "", tenant: str = "", rows: int = 1, request_id: str = "r", version: str = "") -> Question:
    return Question(Principal("ann", tenant, tier), {}, rows, {}, version, request_id)


def test_every_condition_is_held_against_the_question() -> None:
    """Also those after the first that does not hold: wanted, found, holds."""
    gold = ROUTES.explain(asked("gold", rows=2)).tried[0]
    assert ("gold", "missed") == (gold.route, gold.outcome)
    assert (Finding("tier", "gold", "gold", True), Finding("rows", "4..", 2, False)) == gold.conditions
    assert ["rows"] == [each.key for each in gold.misses]


def test_nested_conditions_are_told_one_by_one() -> None:
    """An `any` has a list of findings for each of its matches."""
    either = ROUTES.explain(asked(tenant="bigco")).tried[1].conditions[0]
    assert ("any", False) == (either.key, either.holds)
    assert ((Finding("tenant", "acme", "bigco", False),), (Finding("parameter.p", "true", None, False),)) == either.parts


def test_routes_behind_the_hit_are_not_reached() -> None:
    """Nobody looks at their conditions."""
    tried = ROUTES.explain(asked(tenant="acme")).tried
    assert ["missed", "hit", "not reached", "not reached"] == [each.outcome for each in tried]
    assert () == tried[2].conditions


def test_a_question_that_nobody_takes() -> None:
    """Every route is missed."""
    explainer = Explainer(RouteTable("digits", (GOLD,)))
    assert ["missed"] == [each.outcome for each in explainer.explain(asked()).tried]
    assert None is explainer.hit(asked())
    assert () == explainer.sides(asked())


def test_hit_from_a_place_on() -> None:
    """The first that takes the question, or the first after some."""
    assert 2 == ROUTES.hit(asked("gold"))
    assert (0, 2, 3) == tuple(ROUTES.hit(asked("gold", rows=4), start) for start in (0, 1, 3))


def test_the_lowest_bid_of_a_split_is_the_planners_side() -> None:
    """The bids shown are those that decide; a side of no weight bids nothing."""
    for number in range(200):
        question = asked(tenant=f"t{number}")
        lot, plan = ROUTES.explain(question).lot, ROUTES.plan(question)
        assert lot is not None
        assert ("tenant", f"t{number}", ["fast", "dear"]) == (lot.unit, lot.value, [side.variant for side in lot.sides])
        assert plan.stages[0].target.variant == min(lot.sides, key=lambda side: side.bid or 0.0).variant


def test_a_split_that_nothing_decides_has_all_its_sides() -> None:
    """Without unit and id there are no bids, and a plan for each side with its share."""
    question = asked(request_id="")
    lot = ROUTES.explain(question).lot
    assert lot is not None
    assert ("", [(0.75, None), (0.25, None)]) == (lot.value, [(side.share, side.bid) for side in lot.sides])
    sides = [(plan(question), share) for plan, share in ROUTES.sides(question)]
    assert [("rest", "fast", 0.75), ("rest", "dear", 0.25)] == [
        (plan.route, plan.stages[0].target.variant, share) for plan, share in sides
    ]
    assert () == ROUTES.sides(asked())
    assert () == ROUTES.sides(asked(tenant="acme", request_id=""))


def test_a_table_of_one_route_for_everything() -> None:
    """As if every question came to it; or to none."""
    alone = only(ROUTES.table, GOLD)
    assert isinstance(made := Explainer(alone).plan(asked()), Plan)
    assert "gold" == made.route
    assert () == only(ROUTES.table, None).routes


def test_it_is_json() -> None:
    """What is found has JSON's kinds."""
    assert b'"found":"bigco"' in msgspec.json.encode(ROUTES.explain(asked(tenant="bigco")))
