"""What a sample of a model must say."""

from __future__ import annotations

from routing.conditions import Looks
from routing.match import Match, Question, Range, Route, RouteTable, Split, Use
from routing.plan import Target
from routing.principal import Principal
from routing.sampling import Sided, needed, places, sampling, steady
from routing.split import place

FAST, DEAR = Target("fast", "b", "f"), Target("dear", "b", "d")


def table(*routes: Route) -> RouteTable:
    """Of the model `digits`."""
    return RouteTable("digits", routes)


def test_nothing_is_recorded_of_models_that_are_not_sampled() -> None:
    """No route that says `sample`: None."""
    assert None is sampling(table(Route("default", Match(), Use(FAST), 1.0)))


def test_what_routes_look_at_is_found_however_deep() -> None:
    """In any, all and not; the headers that keep units on their sides among them."""
    deep = Match(
        headers=(("x-a", "1"),),
        some=(Match(parameters=(("p", 1),)), Match(never=Match(headers=(("x-b", "2"),), priority=Range(0, 3)))),
        every=(Match(text_lengths=(("text", Range(5)),), prompts=(("hard", Range(5)),)), Match(size=Range(9))),
    )
    split = Split(((FAST, 1.0), (DEAR, 0.0)), "header:x-user")
    found = sampling(table(Route("deep", deep, split, 1.0, sample=0.1), Route("default", Match(), Use(FAST), 1.0, sample=0.5)))
    assert found is not None
    assert (("x-a", "x-b", "x-user"), ("p",), 0.5) == (found.headers, found.parameters, found.most)
    assert Looks(True, True, frozenset({"text"}), frozenset({"hard"})) == found.looks
    assert (Sided("deep", "header:x-user", ("fast", "dear")),) == found.splits


def test_a_split_by_request_needs_no_place() -> None:
    """The request's id, which is in the sample, decides it."""
    assert () == needed(table(Route("r", Match(), Split(((FAST, 1.0),), "request"), 1.0))).splits


def test_what_is_steady() -> None:
    """A split may hang on the id, and a condition, however deep, on a header; other headers change nothing."""
    use, passing = Route("r", Match(headers=(("x-a", "1"),)), Use(FAST), 1.0), frozenset({"x-b", "x-c"})
    assert steady(table(use), passing)
    assert not steady(table(use, Route("s", Match(), Split(((FAST, 1.0),), "subject"), 1.0)), passing)
    deep = Match(some=(Match(never=Match(every=(Match(headers=(("x-b", "2"),)),))),))
    assert not steady(table(use, Route("deep", deep, Use(FAST), 1.0)), passing)


def test_places_are_those_of_the_draw() -> None:
    """On the line of each side, those without weight included: they may get some."""
    found = needed(table(Route("r", Match(), Split(((FAST, 1.0), (DEAR, 0.0)), "tenant"), 1.0)))
    question = Question(Principal("s", "acme"), {}, 1, {}, "", "id")
    wanted = {"fast": place("digits/r/fast", "acme"), "dear": place("digits/r/dear", "acme")}
    assert {"r tenant": wanted} == places(found, question)
    nobody = Question(Principal("s"), {}, 1, {}, "", "id")
    assert place("digits/r/fast", "id") == places(found, nobody)["r tenant"]["fast"]
