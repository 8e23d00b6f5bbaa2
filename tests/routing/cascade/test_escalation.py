"""One request's way up a cascade."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, RequestedOutput, Tensors
from backends.tensors import Tensor, from_array
from routing.cascade.escalation import Escalation, part, question
from routing.plan import Confidence, Plan, Stage, Target

STAGES = tuple(Stage(Target(name, "b", name), accept) for name, accept in (("fast", 0.9), ("mid", 0.8), ("dear", None)))
PLAN = Plan("r", STAGES, 1.0, Confidence("p", "output"))


def answer(values: list[float], stage: int) -> list[Tensor]:
    return [from_array("p", "FP64", np.array(values)[:, None]), from_array("who", "INT64", np.full((len(values), 1), stage))]


def request(rows: int, outputs: tuple[RequestedOutput, ...] = ()) -> InferenceRequest:
    tensors = (from_array("x", "FP32", np.arange(rows * 2).reshape(rows, 2)),)
    return InferenceRequest("m", "", "id", {}, (), outputs, Tensors(tensors))


@given(st.lists(st.tuples(*[st.floats(0, 1)] * 3), min_size=1, max_size=20))
def test_every_row_ends_with_the_first_stage_that_was_sure(scores: list[tuple[float, float, float]]) -> None:
    """Rows stay where they are accepted, in order, and only the others are asked again."""
    escalation = Escalation(PLAN, len(scores))
    for stage in range(3):
        rows = escalation.unsure.tolist()
        if not rows:
            break
        escalation.answered(stage, answer([scores[row][stage] for row in rows], stage))
    expected = [0 if first >= 0.9 else 1 if second >= 0.8 else 2 for first, second, _ in scores]
    merged = {tensor.name: tensor for tensor in escalation.outputs(frozenset())}
    assert expected == merged["who"].array().ravel().tolist()
    assert [scores[row][stage] for row, stage in enumerate(expected)] == merged["p"].array().ravel().tolist()
    assert [(stage, expected.count(stage)) for stage in sorted(set(expected))] == escalation.shares()
    assert not len(escalation.unsure)


def test_rows_kept_bit_for_bit() -> None:
    """A NaN's payload bits in a sure row survive another row's escalation."""
    strange = np.frombuffer(np.array([0x7FC00123, 0x3F000000], dtype="<u4").tobytes(), dtype="<f4")
    escalation = Escalation(Plan("r", STAGES[1:], 1.0, Confidence("p", "output")), 2)
    first = [from_array("p", "FP64", np.array([[0.9], [0.1]])), from_array("x", "FP32", strange)]
    escalation.answered(0, first)
    escalation.answered(1, [from_array("p", "FP64", np.array([[0.5]])), from_array("x", "FP32", np.array([2.0]))])
    (x,) = escalation.outputs(frozenset({"x"}))
    assert strange.tobytes()[:4] == bytes(x.data)[:4]
    assert x.array()[1] == 2.0


def test_without_common_rows_all_goes_up() -> None:
    """Where rows mean nothing the least sure score decides for the whole request."""
    escalation = Escalation(PLAN, None)
    escalation.answered(0, answer([0.95, 0.2], 0))
    assert [0] == escalation.unsure.tolist()
    escalation.answered(1, answer([0.95, 0.85], 1))
    assert [] == escalation.unsure.tolist()
    assert escalation.shares() == [(1, 1)]


@pytest.mark.parametrize("second", [[], answer([0.5, 0.5], 1), [from_array("p", "FP32", np.array([[0.85]]))]])
def test_stages_must_answer_alike(second: list[Tensor]) -> None:
    """A second stage that lacks the output, has other rows or another datatype is refused, and nothing has changed."""
    escalation = Escalation(PLAN, 2)
    escalation.answered(0, answer([0.95, 0.2], 0))
    with pytest.raises(InferenceError) as caught:
        escalation.answered(1, second)
    assert caught.value.kind is ErrorKind.BROKEN
    assert escalation.shares() == [(0, 2)]


def test_confidence_output_is_asked_for_and_left_out() -> None:
    """A client that wants other outputs still gets only those."""
    asked = question(request(2, (RequestedOutput("who"),)), PLAN, 0)
    assert [output.name for output in asked.outputs] == ["who", "p"]
    escalation = Escalation(PLAN, 2)
    escalation.answered(0, answer([0.95, 0.95], 0))
    assert [tensor.name for tensor in escalation.outputs(frozenset({"who"}))] == ["who"]


def test_classification_of_the_confidence_output_is_refused() -> None:
    """Text of the top classes cannot be compared with a threshold."""
    with pytest.raises(InferenceError) as caught:
        question(request(1, (RequestedOutput("p", {"classification": 3}),)), PLAN, 0)
    assert caught.value.kind is ErrorKind.INVALID


def test_part_takes_the_rows_in_order() -> None:
    """A sub-question holds exactly the rows named, and says their shape."""
    whole = request(4)
    sub = part(whole, np.array([3, 1]))
    (tensor,) = sub.payload.tensors()
    assert tensor.array().tolist() == [[6.0, 7.0], [2.0, 3.0]]
    assert sub.inputs[0].shape == (2, 2)


def test_scores_are_kept_by_stage() -> None:
    """Of the rows asked about, in their order; of a request without rows the least; of none at all, endless certainty."""
    escalation = Escalation(PLAN, 2)
    escalation.answered(0, answer([0.95, 0.2], 0))
    escalation.answered(1, answer([0.5], 1))
    escalation.answered(2, answer([0.1], 2))
    assert {0: [0.95, 0.2], 1: [0.5]} == {stage: scores.tolist() for stage, scores in escalation.scores.items()}
    whole = Escalation(PLAN, None)
    whole.answered(0, answer([0.95, 0.2], 0))
    assert [0.2] == whole.scores[0].tolist()
    nothing = Escalation(PLAN, None)
    nothing.answered(0, answer([], 0))
    assert ([np.inf], []) == (nothing.scores[0].tolist(), nothing.unsure.tolist())
