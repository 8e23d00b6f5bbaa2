"""Conditions of routes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from routing.conditions import Condition, Looks, conditions, looks, looks_of, predicates, ready, same, together
from routing.match import Match, Question, Range, Route, RouteTable, Use
from routing.plan import Target
from routing.principal import Principal
from routing.prompt.scorer import PromptRouter, Scorer, Term

ACME, GOLD = Match(tenants=frozenset({"acme"})), Match(tiers=frozenset({"gold"}))
BIG, URGENT, LONG = Match(size=Range(9)), Match(priority=Range(0, 3)), Match(text_lengths=(("prompt", Range(5)),))
TOKENS = Match(parameter_ranges=(("max_tokens", Range(512, 2048)),))
HARD = Match(prompts=(("difficulty", Range(620_000)),))


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


def scoped(*scopes: str) -> dict[str, object]:
    return {"principal": Principal("ann", scopes=frozenset(scopes))}


def holds(match: Match, asked: Question) -> bool:
    return all(predicate(asked) for predicate in predicates(match))


def test_empty_match_holds_for_everything() -> None:
    """A route without conditions takes every question."""
    assert holds(Match(), question())


@pytest.mark.parametrize(
    ("match", "yes", "no"),
    [
        (ACME, {}, {"principal": Principal("ann", "other")}),
        (Match(tiers=frozenset({"gold", "silver"})), {}, {"principal": Principal("ann", "acme", "")}),
        (Match(scopes=frozenset({"a", "b"})), scoped("b", "c"), scoped("c")),
        (Match(scopes=frozenset({"a"})), scoped("a"), {}),
        (Match(versions=frozenset({"1", "2"})), {"version": "2"}, {"version": "3"}),
        (Match(versions=frozenset({"1"})), {"version": "1"}, {"version": ""}),
        (Match(headers=(("x-a", "1"),)), {"headers": {"x-a": "1"}}, {"headers": {"x-a": "2"}}),
        (Match(rows=Range(2, 4)), {"rows": 4}, {"rows": 5}),
        (Match(rows=Range(0)), {"rows": 0}, {"rows": None}),
        (Match(parameters=(("fast", True),)), {"parameters": {"fast": True}}, {"parameters": {"fast": 1}}),
        (BIG, {"size": 9}, {"size": 8}),
        (Match(size=Range(0, 8)), {"size": 0}, {"size": 9}),
        (URGENT, {"priority": 3}, {"priority": 4}),
        (URGENT, {"priority": 0}, {"priority": None}),
        (LONG, {"text_lengths": {"prompt": 5, "other": 1}}, {"text_lengths": {"prompt": 4, "other": 9}}),
        (TOKENS, {"parameters": {"max_tokens": 512}}, {"parameters": {"max_tokens": 511}}),
        (TOKENS, {"parameters": {"max_tokens": 2048.0}}, {"parameters": {"max_tokens": 2048.5}}),
        (TOKENS, {"parameters": {"max_tokens": 600}}, {"parameters": {"max_tokens": "600"}}),
        (Match(parameter_ranges=(("n", Range(0)),)), {"parameters": {"n": 1}}, {"parameters": {"n": True}}),
        (HARD, {"prompts": {"difficulty": 620_000}}, {"prompts": {"difficulty": 619_999}}),
        (HARD, {"prompts": {"difficulty": 1_000_000}}, {"prompts": {"other": 700_000}}),
        (Match(text_lengths=(("prompt", Range(0)),)), {"text_lengths": {"prompt": 0}}, {"text_lengths": {}}),
        (Match(every=(ACME, GOLD)), {}, {"principal": Principal("ann", "acme")}),
        (Match(some=(BIG, GOLD)), {}, {"principal": Principal("ann", "acme"), "size": 8}),
        (Match(never=ACME), {"principal": Principal("ann", "other")}, {}),
        (Match(never=Match(never=ACME)), {}, {"principal": Principal("ann", "other")}),
        (Match(some=(Match(every=(ACME, URGENT)), Match(never=GOLD))), {"priority": 1}, {"priority": 9}),
    ],
)
def test_each_condition_holds_and_fails(match: Match, yes: dict[str, object], no: dict[str, object]) -> None:
    """Every condition decides by itself, and what a question does not have never is what a route wants."""
    assert holds(match, question(**yes))
    assert not holds(match, question(**no))


def test_all_conditions_must_hold() -> None:
    """One failing condition is enough to pass a route over, beside a nested one too."""
    match = Match(tenants=frozenset({"acme"}), rows=Range(2))
    assert holds(match, question(rows=2))
    assert not holds(match, question(rows=1))
    assert not holds(replace(match, some=(GOLD,)), question(rows=1))
    assert not holds(replace(match, never=GOLD), question(rows=2))


def test_a_match_in_not_is_refused_as_a_whole() -> None:
    """Not all of its conditions must hold: that one does not is enough."""
    match = Match(never=Match(tenants=frozenset({"acme"}), rows=Range(2)))
    assert holds(match, question(rows=1))
    assert not holds(match, question(rows=2))


def test_parameter_equality_minds_booleans() -> None:
    """`true` is not `1`, but `1` is `1.0`."""
    assert not same(True, 1)
    assert same(1, 1.0)
    assert not same(None, "x")


WORDS = st.frozensets(st.sampled_from("ab"), max_size=2)
RANGES = st.none() | st.builds(lambda low, width: Range(low, None if width is None else low + width), *[st.integers(0, 3)] * 2)
PLAIN = st.builds(
    Match, WORDS, WORDS, WORDS, WORDS, st.sampled_from([(), (("h", "1"),)]), st.sampled_from([(), (("p", True),)]), *[RANGES] * 3
)
QUESTIONS = st.builds(
    lambda words, headers, parameters, numbers: Question(
        Principal("s", words[0], words[1], words[2]), headers, numbers[0], parameters, words[3], "", numbers[1], numbers[2] or 0
    ),
    st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), WORDS, st.sampled_from(["", "a", "b"])),
    st.sampled_from([{}, {"h": "1"}, {"h": "2"}]),
    st.sampled_from([{}, {"p": True}, {"p": 1}]),
    st.tuples(*[st.none() | st.integers(0, 7)] * 3),
)
MATCHES = st.recursive(
    PLAIN,
    lambda parts: st.builds(
        lambda plain, every, some, never: replace(plain, every=tuple(every), some=tuple(some), never=never),
        PLAIN,
        st.lists(parts, max_size=2),
        st.lists(parts, max_size=2),
        st.none() | parts,
    ),
    max_leaves=6,
)


@given(MATCHES, MATCHES, QUESTIONS)
def test_any_all_and_not_are_or_and_and_not(one: Match, other: Match, asked: Question) -> None:
    """They obey Boolean algebra, however deep they lie in one another."""
    first, second = holds(one, asked), holds(other, asked)
    assert (first and second) == holds(Match(every=(one, other)), asked)
    assert (first or second) == holds(Match(some=(one, other)), asked)
    assert (not first) == holds(Match(never=one), asked)
    assert first == holds(Match(never=Match(never=one)), asked)
    neither = Match(never=one), Match(never=other)
    assert holds(Match(never=Match(every=(one, other))), asked) == holds(Match(some=neither), asked)  # De Morgan
    assert holds(Match(never=Match(some=(one, other))), asked) == holds(Match(every=neither), asked)


def told(found: tuple[Condition, ...], asked: Question) -> list[tuple[str, str, object]]:
    return [(each.key, each.wanted, each.found(asked)) for each in found]


def test_conditions_say_what_they_want_and_what_they_found() -> None:
    """In the document's words and in its order of cost; None where the question has nothing."""
    match = Match(
        frozenset({"b", "a"}),
        frozenset({"gold"}),
        frozenset({"s"}),
        frozenset({"2"}),
        (("x-a", "1"),),
        (("p", True),),
        Range(1, 8),
        Range(1024),
        Range(0, 3),
        (("prompt", Range(5, 5)),),
    )
    asked = question(headers={"x-a": "2"}, parameters={"p": 1}, size=7, priority=9, text_lengths={"prompt": 3})
    expected = [
        ("tenant", "a or b", "acme"),
        ("tier", "gold", "gold"),
        ("version", "2", None),
        ("scope", "s", None),
        ("header.x-a", "1", "2"),
        ("parameter.p", "true", 1),
        ("rows", "1..8", 1),
        ("priority", "0..3", 9),
        ("bytes", "1KiB..", 7),
        ("text_length.prompt", "5", 3),
    ]
    assert expected == told(conditions(match), asked)
    nothing = Question(Principal(""), {}, None, {}, "", "")
    assert [None] * 8 + [0, None] == [each[2] for each in told(conditions(match), nothing)]


def test_nested_conditions_have_their_parts() -> None:
    """`all`, `any` and `not` say nothing themselves; each match in them has its own conditions."""
    every, some, never = conditions(Match(every=(ACME, GOLD), some=(BIG,), never=URGENT))
    assert [("all", "", None), ("any", "", None), ("not", "", None)] == told((every, some, never), question())
    assert [["tenant"], ["tier"]] == [[each.key for each in part] for part in every.parts]
    assert [["bytes"]] == [[each.key for each in part] for part in some.parts]
    assert [["priority"]] == [[each.key for each in part] for part in never.parts]


def test_looks() -> None:
    """What costs something to find out, wherever in the match it is asked for; nothing where nothing is."""
    assert not looks(Match(tenants=frozenset({"a"}), headers=(("h", "1"),), rows=Range(1), every=(GOLD,), never=ACME))
    assert Looks(priority=True) == looks(Match(never=URGENT))
    assert Looks(size=True) == looks(Match(every=(GOLD, BIG)))
    assert Looks(texts=frozenset({"prompt"})) == looks(Match(some=(Match(some=(LONG,)), GOLD)))
    assert Looks(True, True, frozenset({"prompt"})) == looks(Match(every=(URGENT,), some=(BIG,), never=LONG))


def test_together() -> None:
    """What several routes look at is looked at once; no routes, nothing."""
    assert not together()
    found = together(Looks(priority=True, texts=frozenset("a")), Looks(size=True, texts=frozenset("b")), Looks())
    assert Looks(True, True, frozenset("ab")) == found


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(1 << 20, None, "1MiB.."), (0, 1 << 16, "..64KiB"), (1000, 3 << 30, "1000B..3GiB"), (0, None, "0B.."), (0, 0, "..0B")],
)
def test_sizes_in_words(low: int, high: int | None, words: str) -> None:
    """As the document writes them, not as bytes by the million."""
    (condition,) = conditions(Match(size=Range(low, high)))
    assert words == condition.wanted


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Range(620_000), "at least 0.62"),
        (Range(0, 299_999), "below 0.3"),
        (Range(1, 2), "at least 1e-06 and below 3e-06"),
        (Range(0), "at least 0"),
    ],
)
def test_scores_are_told_as_a_policy_writes_them(wanted: Range, said: str) -> None:
    """From 0 to 1, what a question has too; a score that it has not is none."""
    (condition,) = conditions(Match(prompts=(("difficulty", wanted),)))
    assert ("prompt.difficulty", said) == (condition.key, condition.wanted)
    assert (0.25, None) == (condition.found(question(prompts={"difficulty": 250_000})), condition.found(question()))


def test_what_a_table_looks_at_comes_with_its_routers() -> None:
    """Those that some route names, ready to score once their files are read."""
    routers = tuple(PromptRouter(name, "text", name * 64) for name in "ab")
    table = RouteTable(
        "m", (Route("r", Match(never=Match(prompts=(("b", Range(1)),))), Use(Target("v", "k", "n")), 1.0),), routers=routers
    )
    found = looks_of(table)
    assert (frozenset("b"), (routers[1],)) == (found.prompts, found.routers)
    assert found
    scorer = Scorer((Term("hard", 1, 1.0),), 1, 0.0, 100)
    assert (scorer,) == tuple(each.scorer for each in ready(found, {"b" * 64: scorer}).routers)
