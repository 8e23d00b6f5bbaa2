"""Whom a model's routes may ask."""

from __future__ import annotations

from routing.match import Cascade, Match, Route, RouteTable, Split, Use
from routing.plan import Confidence, Stage, Target
from routing.targets import entrances, targets

FAST, DEAR, SPARE, UNUSED = (Target(name, "t", name) for name in ("fast", "dear", "spare", "unused"))


def test_targets_are_those_that_may_be_asked() -> None:
    """Each once, in the routes' order, fallbacks last; a weight of nothing and a variant nobody names are not asked."""
    routes = (
        Route("split", Match(tiers=frozenset({"x"})), Split(((DEAR, 1), (UNUSED, 0)), "request"), 1.0),
        Route("again", Match(), Use(DEAR), 1.0),
        Route("default", Match(), Cascade(Confidence("p", "margin"), (Stage(FAST, 0.5), Stage(DEAR))), 1.0),
    )
    assert (DEAR, FAST, SPARE) == targets(RouteTable("digits", routes, {"dear": SPARE}))


def test_entrances_are_those_asked_first_and_their_stand_ins() -> None:
    """A later stage of a cascade is no way in; a fallback is, and its own, and a circle of them ends."""
    cascade = Route("default", Match(), Cascade(Confidence("p", "margin"), (Stage(FAST, 0.5), Stage(DEAR))), 1.0)
    assert (FAST,) == entrances(RouteTable("digits", (cascade,), {"dear": SPARE}))
    circle = {"fast": SPARE, "spare": UNUSED, "unused": FAST}
    assert (FAST, SPARE, UNUSED) == entrances(RouteTable("digits", (cascade,), circle))
    split = Route("split", Match(), Split(((DEAR, 1), (SPARE, 1)), "request"), 1.0)
    assert (DEAR, SPARE, FAST) == entrances(RouteTable("digits", (split, cascade)))
