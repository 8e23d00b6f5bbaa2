"""Scores of answers."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import ErrorKind, InferenceError
from backends.tensors import Tensor, from_array
from routing.cascade.calibration import Calibration
from routing.cascade.confidence import LOGPROBS, METRICS, confidences, sure
from routing.plan import Confidence, Stage, Target


def scores(metric: str, rows: list[list[float]], datatype: str = "FP64") -> list[float]:
    tensor = from_array("p", datatype, np.array(rows))
    found: list[float] = confidences(Confidence("p", metric), tensor, len(rows)).tolist()
    return found


def test_known_values() -> None:
    """Each metric by hand on a certain, a split and a uniform row."""
    rows = [[1.0, 0.0, 0.0, 0.0], [0.6, 0.4, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]]
    assert scores("max-softmax", rows) == [1.0, 0.6, 0.25]
    assert scores("margin", rows) == pytest.approx([1.0, 0.2, 0.0])
    entropy = -(0.6 * math.log(0.6) + 0.4 * math.log(0.4)) / math.log(4)
    assert scores("entropy", rows) == pytest.approx([1.0, 1 - entropy, 0.0])
    assert scores("output", [[0.3], [0.9]]) == [0.3, 0.9]


@pytest.mark.parametrize("metric", [metric for metric in METRICS if metric != "json"])
@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_never_sure(metric: str, odd: float) -> None:
    """A row with NaN or infinity has the lowest score there is, and does not touch its neighbours."""
    usual = -0.5 if metric in LOGPROBS else 0.5
    found = scores(metric, [[odd, usual], [usual, usual]])
    assert found[0] == -math.inf
    assert math.isfinite(found[1])
    assert scores(metric, [[odd, odd, -odd]]) == [-math.inf]


@given(
    st.lists(st.lists(st.floats(0.001, 1), min_size=3, max_size=3), min_size=1, max_size=8),
    st.sampled_from(["max-softmax", "margin", "entropy"]),
)
def test_scores_lie_between_none_and_certain(rows: list[list[float]], metric: str) -> None:
    """On probabilities every metric stays in [0, 1]."""
    normal = [[value / sum(row) for value in row] for row in rows]
    assert all(-1e-9 <= score <= 1 + 1e-9 for score in scores(metric, normal))


@pytest.mark.parametrize(
    "output",
    [
        None,
        Tensor("p", "BYTES", (1,), b"\0\0\0\0"),
        from_array("p", "FP32", np.zeros((3, 2))),
        Tensor("p", "FP32", (), b"\0\0\0\0"),
    ],
)
def test_wrong_output_is_an_error(output: Tensor | None) -> None:
    """A missing, textual or misshaped confidence output is the backend's break, not certainty."""
    with pytest.raises(InferenceError) as caught:
        confidences(Confidence("p", "max-softmax"), output, 1)
    assert caught.value.kind is ErrorKind.BROKEN


def logits(metric: str, rows: list[list[float]], datatype: str = "FP64") -> list[float]:
    tensor = from_array("p", datatype, np.array(rows))
    found: list[float] = confidences(Confidence("p", metric, logits=True), tensor, len(rows)).tolist()
    return found


@given(
    st.lists(st.lists(st.floats(-30, 30), min_size=3, max_size=3), min_size=1, max_size=5),
    st.sampled_from(["max-softmax", "margin", "entropy"]),
    st.sampled_from([0.0, 1e4, -1e4, 700.0]),
)
def test_logits_are_their_softmax(rows: list[list[float]], metric: str, shift: float) -> None:
    """Whatever is added to all of a row's: however large they are, no power of them is."""
    softmax = [[math.exp(value - max(row)) / sum(math.exp(each - max(row)) for each in row) for value in row] for row in rows]
    assert logits(metric, [[value + shift for value in row] for row in rows]) == pytest.approx(scores(metric, softmax), abs=1e-9)


def test_a_class_that_cannot_be_is_minus_infinity() -> None:
    """Masked classes are common among logits; plus infinity, NaN and a row of nothing but masks are not sure."""
    assert logits("max-softmax", [[0.0, -math.inf, 0.0]]) == [0.5]
    assert logits("margin", [[math.inf, 0.0], [math.nan, 9.0], [-math.inf, -math.inf], [9.0, -9.0]])[:3] == [-math.inf] * 3


@pytest.mark.parametrize("metric", ["max-softmax", "margin", "entropy"])
def test_what_is_no_probability_is_not_sure(metric: str) -> None:
    """A policy that takes logits for probabilities must not be certain of everything; rounding is allowed for."""
    assert scores(metric, [[12.3, -4.0], [0.97, -2.0], [-0.5, 0.5]]) == [-math.inf] * 3
    assert scores(metric, [[1.004, -0.004]], "FP32")[0] > 0.9


def test_of_several_places_in_a_row_the_least_sure_counts() -> None:
    """The last dimension has the classes: one place that is sure says nothing of the others."""
    tensor = from_array("p", "FP32", np.array([[[0.9, 0.1], [0.6, 0.4]], [[0.8, 0.2], [0.95, 0.05]]]))
    assert confidences(Confidence("p", "max-softmax"), tensor, 2).tolist() == pytest.approx([0.6, 0.8])


def test_log_probabilities_of_tokens() -> None:
    """Their mean or the least of them; what is above 0 is no logarithm of a probability."""
    rows = [[-0.1, -0.3], [0.0, -4.0], [0.9, 0.8]]
    assert scores("mean-logprob", rows) == pytest.approx([-0.2, -2.0, -math.inf])
    assert scores("min-logprob", rows) == pytest.approx([-0.3, -4.0, -math.inf])


def documents(metric: str, *rows: object, path: tuple[str, ...]) -> list[float]:
    texts = np.array([text if isinstance(text, bytes) else json.dumps(text).encode() for text in rows], dtype=object)
    tensor = from_array("answer", "BYTES", texts[:, None])
    found: list[float] = confidences(Confidence("answer", metric, path=path), tensor, len(rows)).tolist()
    return found


def test_documents_are_judged_one_by_one() -> None:
    """A row whose document cannot be read, or lacks the number, is not sure; the others are as sure as they say."""
    found = documents("json", {"a": {"score": 0.7}}, {"a": {}}, b"no JSON", {"a": {"score": [0.9, 0.4]}}, path=("a", "score"))
    assert [0.7, -math.inf, -math.inf, 0.4] == found


def test_log_probabilities_in_documents() -> None:
    """As OpenAI's answers have them, of however many tokens each; an answer without tokens is not sure."""
    path = ("choices", "0", "logprobs", "content", "*", "logprob")

    def chat(*values: float) -> object:
        return {"choices": [{"logprobs": {"content": [{"logprob": value} for value in values]}}]}

    assert [-0.5, -2.0, -math.inf] == documents("mean-logprob", chat(-0.25, -0.75), chat(-2), chat(), path=path)
    assert [-0.75, -math.inf] == documents("min-logprob", chat(-0.25, -0.75), chat(0.5), path=path)


@pytest.mark.parametrize(
    ("confidence", "output"),
    [
        (Confidence("p", "json", path=("a",)), from_array("p", "FP32", np.zeros((1, 2)))),
        (Confidence("p", "max-softmax", logits=True), from_array("p", "FP32", np.zeros((1, 1)))),
        (Confidence("p", "max-softmax"), from_array("p", "FP32", np.zeros((1, 0)))),
        (Confidence("p", "min-logprob"), from_array("p", "FP32", np.zeros((1, 0)))),
        (Confidence("p", "json", path=()), Tensor("p", "BYTES", (1, 0), b"")),
        (Confidence("p", "output"), Tensor("p", "BF16", (1,), b"\0\0")),
    ],
)
def test_an_output_by_which_nothing_can_be_judged(confidence: Confidence, output: Tensor) -> None:
    """Of no kind that the metric reads, or with nothing in it: the backend's break."""
    with pytest.raises(InferenceError) as caught:
        confidences(confidence, output, 1)
    assert (ErrorKind.BROKEN, "confidence") == (caught.value.kind, caught.value.reason)


MAPS = Calibration({"0": ((0.5, 0.6), (1.0, 1.0)), "cat": ((0.0, 0.9),), "other": ((0.5, 0.1), (1.0, 0.5))})
CLASSES = from_array("p", "FP64", np.array([[0.75, 0.25], [0.25, 0.75], [math.nan, 0.5]]))


@pytest.mark.parametrize(
    ("label", "output", "expected"),
    [
        ("", None, [0.8, 0.3, -math.inf]),
        ("l", from_array("l", "INT64", np.array([1, 0, 0])), [0.3, 0.8, -math.inf]),
        ("l", from_array("l", "UINT8", np.array([[1], [0], [0]])), [0.3, 0.8, -math.inf]),
        ("l", from_array("l", "BYTES", np.array([b"cat", b"dog", b"cat"], dtype=object)), [0.9, 0.3, -math.inf]),
        ("l", from_array("l", "BYTES", np.array([b"\xff", b"0", b""], dtype=object)), [0.3, 0.8, -math.inf]),
    ],
)
def test_a_score_is_worth_what_its_label_says(label: str, output: Tensor | None, expected: list[float]) -> None:
    """The label is the largest value's place, or that of an output of its own; a row without a score is not sure by any map."""
    stage = Stage(Target("f", "b", "f"), 0.5, MAPS, label)
    outputs = {"p": CLASSES, **({"l": output} if output else {})}
    assert sure(Confidence("p", "max-softmax"), stage, outputs, 3).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    "output",
    [
        None,
        from_array("l", "FP32", np.zeros(3)),
        from_array("l", "INT64", np.zeros(2)),
        from_array("l", "INT64", np.zeros((3, 2))),
    ],
)
def test_rows_without_a_label_cannot_be_judged(output: Tensor | None) -> None:
    """A label that is missing, a fraction, or not one for each row is the backend's break, not another label's map."""
    stage = Stage(Target("f", "b", "f"), 0.5, MAPS, "l")
    with pytest.raises(InferenceError) as caught:
        sure(Confidence("p", "max-softmax"), stage, {"p": CLASSES, **({"l": output} if output else {})}, 3)
    assert ErrorKind.BROKEN is caught.value.kind
