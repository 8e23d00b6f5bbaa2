"""Answers held against each other: what passes, what does not, and by how much."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from backends.tensors import Tensor, from_array
from routing.shadow.compare import MAX_ELEMENTS, Found, Rule, compare

FLOATS = arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 5)), elements=st.floats(-100, 100, width=32))


def tensor(values: object, datatype: str = "FP32", name: str = "y") -> Tensor:
    return from_array(name, datatype, np.array(values))


def texts(*values: str) -> Tensor:
    array = np.empty(len(values), object)
    array[:] = [value.encode() for value in values]
    return from_array("y", "BYTES", array)


def field(one: Tensor, other: Tensor, rule: Rule | None = None, name: str = "y") -> Found:
    """The named field of the comparison."""
    return next(each for each in compare([one], [other], {} if rule is None else {"y": rule}) if each.field == name)


@given(FLOATS)
def test_equal_answers_do_not_differ(values: np.ndarray) -> None:
    """In no field, by whatever rule."""
    one, other = tensor(values), Tensor("y", "FP32", values.shape, bytearray(tensor(values).data))  # type: ignore[arg-type]
    for rule in (Rule(), Rule(exact=True), Rule(label=True, overlap=0.9, rbo=0.9, cosine=0.9)):
        assert {0.0} == {each.score for each in compare([one], [other], {"y": rule})}


@given(FLOATS, st.floats(0.001, 10), st.floats(0.1, 3))
def test_the_score_is_in_units_of_the_tolerance(values: np.ndarray, atol: float, times: float) -> None:
    """An absolute difference of so many times the tolerance has that score."""
    one, other = from_array("y", "FP64", values), from_array("y", "FP64", values.astype(float) + atol * times)
    assert pytest.approx(times, rel=1e-6, abs=1e-9) == field(one, other, Rule(atol=atol)).score


@given(FLOATS, FLOATS)
def test_whether_two_answers_differ_hangs_not_on_their_order(one: np.ndarray, other: np.ndarray) -> None:
    """By an absolute tolerance."""
    a, b = tensor(one), tensor(other)
    assert field(a, b, Rule(atol=0.5)).score == field(b, a, Rule(atol=0.5)).score


def test_measures_are_told() -> None:
    """The largest and the mean difference, absolute and relative."""
    found = field(tensor([[1.0, 2.0]], "FP64"), tensor([[1.0, 3.0]], "FP64"))
    assert {"max_abs": 1.0, "mean_abs": 0.5, "max_rel": 0.5, "mean_rel": 0.25} == dict(found.measures)
    assert "values" == found.why


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        (tensor([1.0]), tensor([1.0], "FP64"), "datatype"),
        (tensor([1.0]), tensor([[1.0]]), "shape"),
        (tensor([1.0, math.nan]), tensor([1.0, 2.0]), "nan"),
        (tensor([math.inf]), tensor([1.0]), "nan"),
        (tensor([math.inf]), tensor([-math.inf]), "nan"),
        (tensor([1], "INT64"), tensor([2], "INT64"), "values"),
        (texts("a"), texts("b"), "values"),
        (texts("a"), Tensor("y", "BYTES", (1,), b"\xff\xff\xff\xff"), "unreadable"),
    ],
)
def test_what_is_infinitely_far(one: Tensor, other: Tensor, why: str) -> None:
    """Nothing between it and the same can be measured."""
    found = field(one, other)
    assert (math.inf, why) == (found.score, found.why)


def test_nan_and_infinity_in_the_same_places_are_equal() -> None:
    """Beside a difference that passes, too."""
    one, other = tensor([math.nan, math.inf, 1.0]), tensor([math.nan, math.inf, 1.0000001])
    assert field(one, other).score <= 1
    assert 0 == field(one, tensor([math.nan, math.inf, 1.0]), Rule(exact=True)).score


def test_large_integers_are_told_apart() -> None:
    """Doubles could not."""
    assert math.inf == field(tensor([2**62], "INT64"), tensor([2**62 + 1], "INT64")).score


def test_half_precision_has_a_wider_tolerance() -> None:
    """BF16 is read as the numbers that it means."""
    one, other = (Tensor("y", "BF16", (1,), np.array([value], "<u2").tobytes()) for value in (0x3F80, 0x3F81))
    found = field(one, other)
    assert pytest.approx(1 / 128) == found.measures["max_abs"]
    assert found.score <= 1


def test_a_label_flip_is_counted() -> None:
    """From which to which; the rule decides whether it matters."""
    one, other = tensor([[0.6, 0.4], [0.1, 0.9]]), tensor([[0.4, 0.6], [0.1, 0.9]])
    found = field(one, other, Rule(label=True))
    assert (math.inf, "label", (("0", "1", 1),)) == (found.score, found.why, found.flips)
    assert (("7", "9", 1),) == field(tensor([7, 3], "INT64"), tensor([9, 3], "INT64"), Rule(exact=True)).flips


def test_labels_are_fit_to_be_shown() -> None:
    """A terminal does what escape sequences say."""
    found = field(texts("\x1b[2Jcat"), texts("dog\n"), Rule(exact=True))
    assert (("�[2Jcat", "dog�", 1),) == found.flips


@pytest.mark.parametrize(
    ("rule", "measure", "score"),
    [
        (Rule(top=2, overlap=0.5), "overlap", 1.0),  # one of two is shared, and one had to be
        (Rule(top=2, rbo=0.5), "rbo", 0.9),  # agreement 1, then a half: .1 + .09 / 2 + .81 / 2 is shared, and .5 had to be
        (Rule(variation=0.1), "variation", 3.0),
        (Rule(cosine=0.9), "cosine", 10 * (1 - 0.32 / (0.42 * 0.36) ** 0.5)),
    ],
)
def test_row_measures(rule: Rule, measure: str, score: float) -> None:
    """Each against what its rule lets pass."""
    found = field(tensor([[0.5, 0.4, 0.1]], "FP64"), tensor([[0.4, 0.2, 0.4]], "FP64"), rule)
    assert measure == found.why
    assert pytest.approx(score) == found.score
    assert measure in found.measures


def test_a_vector_of_one_question_is_one_row() -> None:
    """An embedding without a batch's dimension."""
    assert 0 == field(tensor([1.0, 2.0]), tensor([2.0, 4.0]), Rule(cosine=0.99)).score


def test_texts_by_likeness() -> None:
    """Near ones pass, others do not."""
    rule = Rule(similarity=0.7)
    assert field(texts("the parcel is on its way"), texts("the parcel is on its bay"), rule).score <= 1
    assert field(texts("the parcel is on its way"), texts("no"), rule).score > 1


def test_json_by_places() -> None:
    """Each place with a rule is a field of its own, and what no rule names is the output's."""
    one = texts(json.dumps({"score": 0.5, "id": 1, "text": "a"}))
    other = texts(json.dumps({"id": 2, "score": 0.58, "text": "a", "more": None}))
    rule = Rule(places=(("$.score", Rule(atol=0.1)), ("$.id", Rule(ignore=True))))
    found = {each.field: each for each in compare([one], [other], {"y": rule})}
    assert {"outputs", "y", "y $.score"} == set(found)
    assert pytest.approx(0.8) == found["y $.score"].score
    assert (math.inf, "missing") == (found["y"].score, found["y"].why)
    assert {math.inf} == {each.score for each in compare([one], [texts("{")], {"y": rule}) if each.field != "outputs"}


def test_a_missing_output_is_a_difference_of_its_own() -> None:
    """The others are still compared."""
    one, more = tensor([1.0]), tensor([1.0], name="z")
    found = {each.field: each.score for each in compare([one, more], [one], {})}
    assert {"outputs": math.inf, "y": 0.0} == found


def test_an_output_that_is_ignored_is_no_field() -> None:
    """Timestamps, ids."""
    assert ["outputs"] == [each.field for each in compare([tensor([1.0])], [tensor([2.0])], {"y": Rule(ignore=True)})]


def test_of_large_outputs_a_part_is_looked_at() -> None:
    """Whatever the rule, and said so; a difference in all of it is seen."""
    zeros = np.zeros((2 * MAX_ELEMENTS // 64, 64), np.float32)
    for rule in (Rule(), Rule(label=True, rbo=0.9, top=100)):
        found = field(tensor(zeros), tensor(zeros + np.arange(64, dtype=np.float32)), rule)
        assert found.sampled
        assert found.score > 1


@pytest.mark.parametrize("shape", [(0,), (0, 3), (), (1, 0)])
def test_nothing_and_scalars(shape: tuple[int, ...]) -> None:
    """Are compared as all else."""
    one = Tensor("y", "FP32", shape, np.zeros(shape, "<f4").tobytes())
    assert 0 == field(one, Tensor("y", "FP32", shape, bytes(one.data) + b""), Rule(label=True)).score
    assert field(tensor(1.0), tensor(2.0)).score > 1
