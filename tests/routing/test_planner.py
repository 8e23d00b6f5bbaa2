"""From a table and a question to a plan."""

import pytest
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from routing.cascade.calibration import Calibration
from routing.match import Cascade, Match, Question, Route, RouteTable, Split, Use
from routing.plan import Confidence, Stage, Target
from routing.planner import planner, unit_of
from routing.principal import Principal

FAST, DEAR, PINNED = Target("fast", "t", "f", cost=1), Target("dear", "t", "d", cost=9), Target("old", "t", "d", version="1")
CONFIDENCE = Confidence("p", "max-softmax")


def asked(tier: str = "", tenant: str = "", version: str = "", request_id: str = "r") -> Question:
    return Question(Principal("ann", tenant, tier), {"x-u": "7"}, 1, {}, version, request_id)


def table(*routes: Route, fallback: dict[str, Target] | None = None) -> RouteTable:
    return RouteTable("digits", routes, fallback or {}, dearest=9)


GOLD = Route("gold", Match(tiers=frozenset({"gold"})), Use(DEAR), 1.0)
REST = Route("rest", Match(), Cascade(CONFIDENCE, (Stage(FAST, 0.9), Stage(DEAR))), 2.0)


def test_first_match_wins() -> None:
    """The first route whose conditions hold makes the plan."""
    plan = planner(table(GOLD, REST))
    assert plan(asked(tier="gold")).route == "gold"
    assert plan(asked()).route == "rest"


def test_plan_carries_what_the_route_says() -> None:
    """Stages, confidence, timeout and the dearest cost come from the document."""
    made = planner(table(REST))(asked())
    assert made.stages == (Stage(FAST, 0.9), Stage(DEAR))
    assert (made.confidence, made.timeout, made.dearest) == (CONFIDENCE, 2.0, 9)


def test_who_takes_a_stage_s_place_is_judged_as_the_stage_was() -> None:
    """By its threshold and its maps; what is said of the cascade stays, and what is said of the target is its own."""
    maps = Calibration({"other": ((0.0, 0.1), (1.0, 0.95))})
    newer = Target("fast-v2", "t", "f", version="2", row_independent=False)
    route = replace(REST, action=Cascade(CONFIDENCE, (Stage(FAST, 0.9, maps, "label"), Stage(DEAR)), 0.6))
    made, swapped = planner(table(route))(asked()), planner(table(route), {"fast": newer})(asked())
    assert Stage(newer, 0.9, maps, "label") == swapped.stages[0]
    assert (0.6, True, False) == (swapped.speculate, made.row_independent, swapped.row_independent)


def test_no_route_is_not_found() -> None:
    """A table whose routes all pass over a question has no answer."""
    with pytest.raises(InferenceError) as caught:
        planner(table(GOLD))(asked())
    assert caught.value.kind is ErrorKind.NOT_FOUND


def test_fallback_of_the_stages_and_theirs() -> None:
    """A plan knows the fallbacks that its own targets can lead to, and no others."""
    made = planner(table(GOLD, fallback={"dear": PINNED, "old": FAST, "other": DEAR}))(asked(tier="gold"))
    assert made.fallback == {"dear": PINNED, "old": FAST}


def test_split_is_sticky_and_in_proportion() -> None:
    """A tenant keeps its side, and the sides fill by weight."""
    plan = planner(table(Route("ab", Match(), Split(((FAST, 90), (DEAR, 10)), "tenant"), 1.0)))
    sides = [plan(asked(tenant=f"t{index}", request_id=str(index))).stages[0].target for index in range(2000)]
    again = [plan(asked(tenant=f"t{index}", request_id="other")).stages[0].target for index in range(2000)]
    assert sides == again
    assert 140 < sides.count(DEAR) < 260


def test_unit_falls_back_to_the_request() -> None:
    """Who has no tenant is split by request, not all to one side."""
    assert unit_of(asked(request_id="r9"), "tenant") == "r9"
    assert unit_of(asked(), "header:x-u") == "7"
    assert unit_of(asked(), "subject") == "ann"
    assert unit_of(asked(tenant="t", request_id="r9"), "request") == "r9"


def test_version_goes_to_an_open_target() -> None:
    """A client's version is passed to a variant that does not fix one; nobody stands in for it."""
    made = planner(table(GOLD, fallback={"dear": FAST}))(asked(tier="gold", version="2"))
    assert made.stages[0].target.version == "2"
    assert made.fallback == {}


def test_version_that_is_not_served() -> None:
    """A variant of a fixed version refuses another."""
    plan = planner(table(Route("old", Match(), Use(PINNED), 1.0)))
    assert plan(asked(version="1")).stages[0].target == PINNED
    with pytest.raises(InferenceError) as caught:
        plan(asked(version="2"))
    assert caught.value.kind is ErrorKind.NOT_FOUND


def test_version_and_cascade_do_not_go_together() -> None:
    """Several models cannot all be the version asked for."""
    with pytest.raises(InferenceError) as caught:
        planner(table(REST))(asked(version="2"))
    assert caught.value.kind is ErrorKind.INVALID
