"""Which plans a shadow concerns, and whose questions it leaves alone."""

from __future__ import annotations

from msgspec.structs import replace

from routing.match import Cascade, Match, Question, Route, RouteTable, Split, Use
from routing.plan import Confidence, Plan, Stage, Target
from routing.planner import planner
from routing.principal import Principal
from routing.shadow.shadows import Shadow

FAST, DEAR, NEXT = (Target(name, "t", name[0]) for name in ("fast", "dear", "next"))
CASCADE = Cascade(Confidence("p", "margin"), (Stage(FAST, 0.9), Stage(DEAR)))
GOLD = Route("gold", Match(tiers=frozenset({"gold"})), Use(DEAR), 1.0)
HALF = Route("half", Match(tiers=frozenset({"half"})), Split(((FAST, 1.0), (DEAR, 1.0)), "request"), 1.0)
REST = Route("rest", Match(), CASCADE, 2.0)
DARK = Shadow("dark", "dear", "next", 0.2)


def plan(tier: str, *shadows: Shadow, version: str = "", request: str = "r") -> Plan:
    table = RouteTable("digits", (GOLD, HALF, REST), {"dear": FAST}, shadows=tuple((shadow, NEXT) for shadow in shadows))
    return planner(table)(Question(Principal("ann", tier=tier), {}, 1, {}, version, request))


def test_the_candidate_takes_the_variant_s_place() -> None:
    """Alone and in a cascade, whose thresholds and confidence stay; nobody stands in, for either."""
    (mirror,) = plan("gold", DARK).mirrors
    assert (Stage(NEXT),) == mirror.candidate.stages
    (mirror,) = plan("", DARK).mirrors
    assert ((Stage(FAST, 0.9), Stage(NEXT)), CASCADE.confidence) == (mirror.candidate.stages, mirror.candidate.confidence)
    assert ((Stage(FAST, 0.9), Stage(DEAR)), {}, ()) == (mirror.again.stages, mirror.again.fallback, mirror.again.mirrors)


def test_of_a_split_only_its_side() -> None:
    """The other side is not the shadow's."""
    sides = {(each.stages[0].target, len(each.mirrors)) for each in (plan("half", DARK, request=str(n)) for n in range(50))}
    assert {(FAST, 0), (DEAR, 1)} == sides


def test_of_a_route_whatever_answers() -> None:
    """The candidate stands alone against the whole cascade."""
    (mirror,) = plan("", replace(DARK, of="", route="rest")).mirrors
    assert ((Stage(NEXT),), None) == (mirror.candidate.stages, mirror.candidate.confidence)
    assert () == plan("gold", replace(DARK, of="", route="rest")).mirrors


def test_a_variant_on_one_route_only() -> None:
    """Both must hold."""
    assert 1 == len(plan("gold", replace(DARK, route="gold")).mirrors)
    assert () == plan("", replace(DARK, route="gold")).mirrors


def test_who_insists_on_a_version_is_not_mirrored() -> None:
    """The candidate is another version."""
    assert () == plan("gold", DARK, version="1").mirrors
