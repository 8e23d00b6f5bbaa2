"""Texts and JSON documents held against each other."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.shadow.compare_trees import MAX_NODES, MISSING, differences, distance, parsed, place, similarity

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(DOCUMENTS)
def test_a_document_equals_itself(document: object) -> None:
    """No leaf differs."""
    assert [] == list(differences(document, document, [()]))


@given(DOCUMENTS, DOCUMENTS)
def test_unequal_documents_differ_somewhere(one: object, other: object) -> None:
    """Either way round, in as many places."""
    there, back = list(differences(one, other, [])), list(differences(other, one, []))
    assert len(there) == len(back)
    assert bool(there) or one == other


@given(st.text(max_size=50), st.text(max_size=50))
def test_similarity_is_symmetric_and_bounded(one: str, other: str) -> None:
    """1 for equal texts."""
    assert 0 <= similarity(one, other) <= 1
    assert similarity(other, one) == similarity(one, other)
    assert similarity(one, one) == 1


def test_near_texts_are_nearer() -> None:
    """A letter changed, a word changed, another text."""
    text = "the parcel is on its way"
    letter, word = similarity(text, "the parcel is on its bay"), similarity(text, "the parcel is on its desk now")
    assert 1 > letter > word > similarity(text, "no") >= 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [("$", ()), ("$.a.b", ("a", "b")), ("$.a[0][*].c-d", ("a", "0", "*", "c-d")), ("$.*", ("*",))],
)
def test_places(text: str, expected: tuple[str, ...]) -> None:
    """As they are written."""
    assert expected == place(text)


@pytest.mark.parametrize("text", ["", "a.b", "$.", "$a", "$.a[", "$..a", "$.a[-1]", "$ .a"])
def test_what_is_no_place(text: str) -> None:
    """Refused, so that a slip is seen."""
    assert place(text) is None


def test_the_nearest_rule_holds() -> None:
    """The longest place, and of two the one with fewer stars."""
    one, other = {"a": [{"b": 1, "c": 1}], "d": 1}, {"a": [{"b": 2, "c": 2}], "e": 1}
    rules = [(), ("a",), ("a", "*", "*"), ("a", "*", "b")]
    found = {(rule, a, b) for rule, a, b in differences(one, other, rules)}
    assert {(("a", "*", "b"), 1, 2), (("a", "*", "*"), 1, 2), ((), 1, MISSING), ((), MISSING, 1)} == found


def test_a_list_that_is_longer() -> None:
    """Each entry more stands against nothing."""
    assert [(None, MISSING, 3)] == list(differences([1], [1, 3], []))


def test_a_document_without_end_is_not_walked_through() -> None:
    """What cannot be compared counts as different."""
    many = list(range(2 * MAX_NODES))
    assert "too large to be compared" in {a for _, a, _ in differences(many, many, [])}


def test_numbers_have_a_distance_and_nothing_else_has() -> None:
    """A boolean is no number; an integer beyond doubles is infinitely far."""
    assert 0.5 == distance(1, 1.5)
    assert {math.inf} == {distance(True, 1), distance("1", 1), distance(10**400, 1), distance(MISSING, 1)}


def test_a_bomb_of_brackets_is_no_document() -> None:
    """It is refused as any other text that is none."""
    with pytest.raises(ValueError, match="too deep"):
        parsed(b"[" * 100_000)
