"""Which routes can be reached, and by which question."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import product
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.conditions import Predicate, predicates
from routing.cover import Cover, witness
from routing.match import Match, Question, Range
from routing.principal import Principal

# Every value that the matches below speak of, those beside it, and those that mean "not there".
FOUND: dict[str, list[Any]] = {
    "tenant": ["", "a", "b", "z"],
    "tier": ["", "a", "b", "z"],
    "scopes": [frozenset(), frozenset("s"), frozenset("t"), frozenset("st"), frozenset("z")],
    "version": ["", "1", "2", "3"],
    "header": [dict(zip("hg", pair, strict=True)) for pair in product("123", "12")] + [{}, {"g": "1"}, {"h": "1"}, {"h": "2"}],
    "parameter": [{}, {"p": True}, {"p": 1}, {"p": 1.0}, {"p": "1"}, {"p": False}, {"p": 0}, {"p": "z"}],
    "parameter_range": [{}, {"n": True}, {"n": "3"}, *({"n": number} for number in range(7))],
    "rows": [None, 0, 1, 2, 3, 4, 5, 6],
    "size": [0, 1, 2, 3, 4, 5, 6],
    "priority": [None, 0, 1, 2, 3, 4, 5, 6, 9],
    "prompt": [{}, {"r": 0}, {"r": 1}, {"r": 2}, {"r": 3}, {"r": 4}, {"r": 5}, {"r": 6}],
    "text_length": [{}, {"i": 0}, {"i": 1}, {"i": 2}, {"i": 3}, {"i": 4}, {"i": 5}, {"i": 6}],
}
WORDS = st.frozensets(st.sampled_from("ab"), min_size=1, max_size=2)
SPANS = st.builds(
    lambda low, width: Range(low, None if width is None else low + width), st.integers(0, 3), st.none() | st.integers(0, 2)
)
FIELDS: dict[str, dict[str, st.SearchStrategy[Any]]] = {  # attribute → the field of a match that asks for it
    "tenant": {"tenants": WORDS},
    "tier": {"tiers": WORDS},
    "scopes": {"scopes": st.frozensets(st.sampled_from("st"), min_size=1, max_size=2)},
    "version": {"versions": st.frozensets(st.sampled_from("12"), min_size=1, max_size=2)},
    "header": {"headers": st.sampled_from([(("h", "1"),), (("h", "2"),), (("g", "1"), ("h", "1")), (("g", "1"),)])},
    "parameter": {"parameters": st.sampled_from([(("p", True),), (("p", 1),), (("p", 1.0),), (("p", "1"),), (("p", False),)])},
    "rows": {"rows": SPANS},
    "size": {"size": SPANS},
    "priority": {"priority": SPANS | st.just(Range(2, 9))},
    "parameter_range": {"parameter_ranges": SPANS.map(lambda span: (("n", span),))},
    "prompt": {"prompts": SPANS.map(lambda span: (("r", span),))},
    "text_length": {"text_lengths": SPANS.map(lambda span: (("i", span),))},
}


def matches_on(attributes: Sequence[str]) -> st.SearchStrategy[Match]:
    """Matches on these attributes, nested a few levels."""
    fields = {field: values for attribute in attributes for field, values in FIELDS[attribute].items()}
    flat = st.fixed_dictionaries({}, optional=fields).map(lambda chosen: Match(**chosen))

    def nested(inner: st.SearchStrategy[Match]) -> st.SearchStrategy[Match]:
        several = st.lists(inner, min_size=1, max_size=3).map(tuple)
        parts = {"every": several, "some": several, "never": inner}
        return st.fixed_dictionaries({}, optional={**parts, **fields}).map(lambda chosen: Match(**chosen))

    return st.recursive(flat, nested, max_leaves=5)


def asked(found: dict[str, Any]) -> Question:
    """The question of these attributes, any others as in a plain one."""
    get = {attribute: values[0] for attribute, values in FOUND.items()} | found
    return Question(
        Principal("ann", get["tenant"], get["tier"], get["scopes"]),
        get["header"],
        get["rows"],
        get["parameter"] | get["parameter_range"],
        get["version"],
        "r",
        get["priority"],
        get["size"],
        get["text_length"],
        get["prompt"],
    )


Rules = list[tuple[Predicate, ...]]


def rules(matches: Sequence[Match]) -> Rules:
    return [predicates(match) for match in matches]


def first(rules: Rules, question: Question) -> int | None:
    """The route that live traffic would take."""
    return next((route for route, every in enumerate(rules) if all(holds(question) for holds in every)), None)


MODELS = st.lists(st.sampled_from(sorted(FOUND)), min_size=1, max_size=3, unique=True).flatmap(
    lambda chosen: st.tuples(st.just(chosen), st.lists(matches_on(chosen), min_size=1, max_size=5))
)


@given(MODELS)
def test_agrees_with_every_question(model: tuple[list[str], list[Match]]) -> None:
    """A route is hidden exactly when no combination of the values that occur, and of others, reaches it."""
    attributes, matches = model
    grid = [asked(dict(zip(attributes, values, strict=True))) for values in product(*(FOUND[each] for each in attributes))]
    live = rules(matches)
    reached = {first(live, question) for question in grid}
    assert set(range(len(matches))) - reached == {route for route, _ in Cover(matches).hidden()}


@pytest.mark.slow
@given(st.lists(matches_on(sorted(FOUND)), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_no_question_reaches_a_hidden_route(matches: list[Match], chance: Random) -> None:
    """With all attributes at once: no question whatever takes a route that is said to be hidden."""
    hidden, live = dict(Cover(matches).hidden()), rules(matches)
    for _ in range(100):
        assert first(live, asked({attribute: chance.choice(values) for attribute, values in FOUND.items()})) not in hidden


@pytest.mark.slow
@given(st.lists(matches_on(sorted(FOUND)), min_size=1, max_size=8))
def test_a_witness_reaches_its_route(matches: list[Match]) -> None:
    """Each route is either hidden or has a question that live traffic answers by it."""
    hidden = dict(Cover(matches).hidden())
    for route in range(len(matches)):
        question = witness(matches, route)
        assert (None if route in hidden else route) == (None if question is None else first(rules(matches), question))


@pytest.mark.slow
@given(st.lists(matches_on(sorted(FOUND)), min_size=1, max_size=8))
def test_those_that_hide_are_all_needed(matches: list[Match]) -> None:
    """The routes named for a hidden one hide it by themselves, and without any one of them it would be reached."""
    for route, takers in Cover(matches).hidden():
        assert list(takers) == sorted(set(takers) & set(range(route)))
        assert witness([*(matches[each] for each in takers), matches[route]], len(takers)) is None
        for left_out in takers:
            fewer = [matches[each] for each in takers if each != left_out]
            assert witness([*fewer, matches[route]], len(fewer)) is not None


EXAMPLES: dict[str, Any] = {
    "tenants": frozenset("a"),
    "tiers": frozenset("a"),
    "scopes": frozenset("s"),
    "versions": frozenset("1"),
    "headers": (("h", "1"),),
    "parameters": (("p", 1),),
    "rows": Range(2),
    "size": Range(5),
    "priority": Range(0, 3),
    "text_lengths": (("i", Range(4, 9)),),
    "prompts": (("r", Range(620_000)),),
    "parameter_ranges": (("n", Range(5, 9)),),
    "every": (Match(tiers=frozenset("a")),),
    "some": (Match(tiers=frozenset("a")), Match(rows=Range(7))),
    "never": Match(rows=Range(0, 3)),
}


@pytest.mark.parametrize("field", Match.__struct_fields__)
def test_every_part_of_a_match(field: str) -> None:
    """Each condition of the language can be met and can be missed, and hides a route with the same one."""
    match = Match(**{field: EXAMPLES[field]})
    matches = [match, match, Match()]
    assert [(1, (0,))] == list(Cover(matches).hidden())
    for route in (0, 2):
        question = witness(matches, route)
        assert question is not None
        assert route == first(rules(matches), question)


def tier(*words: str, **more: Any) -> Match:
    return Match(tiers=frozenset(words), **more)


@pytest.mark.parametrize(
    ("matches", "hidden"),
    [
        ([Match(rows=Range(1, 8)), Match(rows=Range(9)), Match(rows=Range(4, 20))], [(2, (0, 1))]),
        ([Match(rows=Range(1, 8)), Match(rows=Range(10)), Match(rows=Range(4, 20))], []),
        ([Match(rows=Range(0)), Match()], []),  # a request need not have rows,
        ([Match(size=Range(0)), Match()], [(1, (0,))]),  # but always has a size
        ([Match(priority=Range(0, 4)), Match(priority=Range(5, 9)), Match(priority=Range(1))], [(2, (0, 1))]),
        ([Match(priority=Range(10))], [(0, ())]),
        ([tier("a", every=(tier("b"),))], [(0, ())]),
        ([Match(never=Match())], [(0, ())]),
        ([Match(some=(tier("a"), tier("b"))), tier("a", "b", rows=Range(3))], [(1, (0,))]),
        ([tier("a"), Match(never=tier("a")), Match()], [(2, (0, 1))]),
        ([tier("a"), Match(rows=Range(1)), tier("a", "b", rows=Range(5))], [(2, (1,))]),  # one alone is named alone
        ([Match(scopes=frozenset("st")), Match(scopes=frozenset("s"))], [(1, (0,))]),
        ([Match(scopes=frozenset("s")), Match(scopes=frozenset("st"))], []),
        ([Match(scopes=frozenset("s")), Match(scopes=frozenset("t")), Match(scopes=frozenset("st"))], [(2, (0, 1))]),
        ([Match(parameters=(("p", 1),)), Match(parameters=(("p", True),)), Match(parameters=(("p", "1"),))], []),
        ([Match(parameters=(("p", 1),)), Match(parameters=(("p", 1.0),))], [(1, (0,))]),
        ([None, Match(), None, tier("a")], [(3, (1,))]),
    ],
)
def test_hidden(matches: list[Match | None], hidden: list[tuple[int, tuple[int, ...]]]) -> None:
    """Hidden routes are told with those that hide them; a route that is unknown hides nothing and is not judged."""
    assert hidden == list(Cover(matches).hidden())


def test_the_plainest_question() -> None:
    """A witness asks no more than its route needs: no tenant, no header, one row, the scope that every caller has."""
    assert Question(Principal("", "", "a", frozenset({"models:infer"})), {}, 1, {}, "", "") == witness([tier("a")], 0)
    assert Question(Principal("", "", "a", frozenset({"models:infer"})), {}, 1, {}, "", "") == witness(
        [Match(rows=Range(5)), tier("a")], 1
    )
    assert Question(Principal(""), {}, None, {}, "", "", size=7) == witness(
        [Match(scopes=frozenset({"models:infer"})), Match(rows=Range(1)), Match(size=Range(7))], 2
    )


def spent(matches: Sequence[Match]) -> tuple[float, list[tuple[int, tuple[int, ...]]]]:
    """Seconds of the processor, and the hidden routes."""
    begin = time.process_time()
    hidden = list(Cover(matches).hidden())
    return time.process_time() - begin, hidden


@pytest.mark.timed
def test_thousands_of_routes() -> None:
    """5 000 ordinary routes of one model are judged in less than a second, a hidden one and the last one rightly."""
    ordinary = [
        Match(tenants=frozenset({f"t{each // 3}"}), tiers=frozenset({"abc"[each % 3]}), rows=Range(1, 64)) for each in range(5000)
    ]
    ordinary[4000] = Match(tenants=frozenset({"t7"}), rows=Range(4, 9), tiers=frozenset("abc"))
    seconds, hidden = spent([*ordinary, Match()])
    assert [(4000, (21, 22, 23))] == hidden
    assert seconds < 1


def any_of(*several: Match) -> Match:
    return Match(some=several)


def test_nothing_is_multiplied_out() -> None:
    """Twelve times ten alternatives, a million millions of boxes, cost nothing; those on one header each are judged exactly."""
    alike = tuple(any_of(*(Match(headers=((f"h{one}", str(each)),)) for each in range(10))) for one in range(12))
    mixed = tuple(any_of(*(Match(headers=((f"h{each}", str(one)),)) for each in range(10))) for one in range(12))
    other = Match(headers=(("h0", "10"),))
    seconds, hidden = spent(
        [Match(every=alike), Match(every=mixed), Match(every=(*alike, tier("a"))), Match(every=(other, *alike)), Match()]
    )
    assert [(2, (0,)), (3, ())] == hidden
    assert seconds < 1


def pigeons(count: int) -> Match:
    """So many pigeons in one hole less, never two in one: it cannot hold, but to prove it takes steps beyond number."""

    def sits(pigeon: int, hole: int) -> Match:
        return Match(scopes=frozenset({f"{pigeon}:{hole}"}))

    holes = range(count - 1)
    somewhere = [Match(some=tuple(sits(pigeon, hole) for hole in holes)) for pigeon in range(count)]
    alone = [Match(never=Match(every=(sits(a, hole), sits(b, hole)))) for hole in holes for a in range(count) for b in range(a)]
    return Match(every=(*somewhere, *alone))


def test_what_is_too_hard_is_no_mistake() -> None:
    """A riddle that takes too long to solve passes for reachable, and many of them cost no more time than is allowed for all."""
    assert [(0, ())] == list(Cover([pigeons(4), Match()]).hidden())
    assert witness([pigeons(10)], 0) is None
    seconds, hidden = spent([*[pigeons(10)] * 40, tier("a"), tier("a"), Match()])
    assert [] == hidden
    assert seconds < 5
    assert [(6, (5,))] == list(Cover([*[pigeons(10)] * 5, tier("a"), tier("a"), Match()]).hidden())


def test_a_witness_has_a_score_that_a_router_can_give() -> None:
    """At most 1, and none is above."""
    question = witness([Match(prompts=(("r", Range(1_000_000)),))], 0)
    assert question is not None
    assert {"r": 1_000_000} == question.prompts
    assert None is witness([Match(prompts=(("r", Range(1_000_001)),))], 0)
