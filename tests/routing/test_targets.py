"""Whom a model's routes may ask."""

from __future__ import annotations

from routing.match import Cascade, Match, Route, RouteTable, Split, Use
from routing.plan import Confidence, Stage, Target
from routing.targets import targets

FAST, DEAR, SPARE, UNUSED = (Target(name, "t", name) for name in ("fast", "dear", "spare", "unused"))


def test_targets_are_those_that_may_be_asked() -> None:
    """Each once, in the routes' order, fallbacks last; a weight of nothing and a variant nobody names are not asked."""
    routes = (
        Route("split", Match(tiers=frozenset({"x"})), Split(((DEAR, 1), (UNUSED, 0)), "request"), 1.0),
        Route("again", Match(), Use(DEAR), 1.0),
        Route("default", Match(), Cascade(Confidence("p", "margin"), (Stage(FAST, 0.5), Stage(DEAR))), 1.0),
    )
    assert (DEAR, FAST, SPARE) == targets(RouteTable("digits", routes, {"dear": SPARE}))
