"""One request's way up a cascade."""

import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, RequestedOutput, Tensors
from backends.protocols.v2_http_request import decode_request
from backends.tensors import DATATYPES, DTYPES, Tensor, from_array, pack_bytes
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


@pytest.mark.parametrize("lost", [0, 1])
def test_a_stage_without_an_answer_leaves_all_its_rows_to_the_next(lost: int) -> None:
    """As if there were only the others."""
    escalation = Escalation(PLAN, 3)
    begun = [escalation.begun]
    for stage in {0, 1, 2} - {lost}:
        escalation.answered(
            stage, answer([[0.95, 0.1, 0.95], [0.5, 0.85, 0.5], [0.3] * 3][stage][: len(escalation.unsure)], stage)
        )
    assert [False, True] == [*begun, escalation.begun]
    merged = {tensor.name: tensor for tensor in escalation.outputs(frozenset())}
    expected = [2, 1, 2] if lost == 0 else [0, 2, 0]
    assert (tuple(expected), expected) == (escalation.owners(), merged["who"].array().ravel().tolist())
    assert [(stage, expected.count(stage)) for stage in sorted(set(expected))] == escalation.shares()


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


Climb = tuple[list[list[float]], dict[str, tuple[str, tuple[int, ...]]]]


@st.composite
def climbs(draw: st.DrawFn) -> Climb:
    """Each stage's score of each row, and outputs of any datatype and any shape within a row."""
    rows, stages = draw(st.integers(1, 9)), draw(st.integers(2, 5))
    scores = [draw(st.lists(st.sampled_from([0.1, 0.9, math.nan]), min_size=rows, max_size=rows)) for _ in range(stages)]
    kinds = st.tuples(st.sampled_from(sorted(DATATYPES)), st.lists(st.integers(0, 3), max_size=3).map(tuple))
    return scores, draw(st.dictionaries(st.sampled_from("abc"), kinds, max_size=3))


def made(name: str, kind: tuple[str, tuple[int, ...]], stage: int, rows: list[int]) -> Tensor:
    """An output with bytes that only this stage gives to these rows."""
    datatype, shape = kind
    count = math.prod(shape)
    each = [
        [
            f"{stage} {row} {at}".encode() * (row % 3) if datatype == "BYTES" else bytes([stage * 16 + row, at])
            for at in range(count)
        ]
        for row in rows
    ]
    if datatype == "BYTES":
        return Tensor(name, datatype, (len(rows), *shape), b"".join(pack_bytes(row) for row in each))
    size = DTYPES[datatype].itemsize
    return Tensor(name, datatype, (len(rows), *shape), b"".join((part * 8)[:size] for row in each for part in row))


@given(climbs())
def test_any_outputs_of_any_stages_are_put_together(
    climb: Climb,
) -> None:
    """Every row has all the bytes of the stage that it ended with, for any number of stages, datatype and shape, text too."""
    scores, kinds = climb
    last = len(scores) - 1
    stages = tuple(Stage(Target(str(at), "b", str(at)), None if at == last else 0.5) for at in range(len(scores)))
    escalation = Escalation(Plan("r", stages, 1.0, Confidence("p", "output")), len(scores[0]))
    owner = [0] * len(scores[0])
    for stage, found in enumerate(scores):
        rows = escalation.unsure.tolist()
        if not rows:
            break
        p = from_array("p", "FP64", np.array([found[row] for row in rows]))
        escalation.answered(stage, [p, *(made(name, kind, stage, rows) for name, kind in kinds.items())])
        for row in rows:
            owner[row] = stage
    assert tuple(owner) == escalation.owners()
    assert sorted(Counter(owner).items()) == escalation.shares()
    for tensor in escalation.outputs([*kinds, "none"]):
        expected = [made(tensor.name, kinds[tensor.name], stage, [row]) for row, stage in enumerate(owner)]
        assert b"".join(bytes(each.data) for each in expected) == bytes(tensor.data)
        assert (len(owner), *kinds[tensor.name][1]) == tensor.shape


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_an_answer_about_more_rows_than_are_unsure(rows: list[tuple[bool, bool]]) -> None:
    """Of a stage that was asked ahead only the rows that need it are taken; it is the same as if only they had been asked."""
    first, second = ([0.95 if sure else 0.2 for sure in each] for each in zip(*rows, strict=True))
    ahead, after = Escalation(PLAN, len(rows)), Escalation(PLAN, len(rows))
    about = ahead.unsure
    for each in (ahead, after):
        each.answered(0, answer(first, 0))
    if not len(after.unsure):
        return
    ahead.answered(1, answer(second, 1), about)
    after.answered(1, answer([second[row] for row in after.unsure], 1))
    assert after.outputs(()) == ahead.outputs(())
    assert (after.shares(), after.owners(), after.unsure.tolist()) == (ahead.shares(), ahead.owners(), ahead.unsure.tolist())


def test_rows_that_depend_on_each_other_go_up_together() -> None:
    """One row that is not sure takes all of them along; none is taken out of its batch, and none is put beside another's."""
    stages = (STAGES[0], replace(STAGES[1], target=replace(STAGES[1].target, row_independent=False)), STAGES[2])
    escalation = Escalation(replace(PLAN, stages=stages), 3)
    escalation.answered(0, answer([0.95, 0.95, 0.2], 0))
    assert [0, 1, 2] == escalation.unsure.tolist()
    escalation.answered(1, answer([0.95, 0.85, 0.81], 1))
    assert ([], [(1, 3)], (1, 1, 1)) == (escalation.unsure.tolist(), escalation.shares(), escalation.owners())
    assert {0: [0.2], 1: [0.81]} == {stage: scores.tolist() for stage, scores in escalation.scores.items()}


def test_who_stands_in_may_need_all_rows() -> None:
    """A fallback that answers a row otherwise beside others gets the whole request, too."""
    dependent = Target("spare", "b", "s", row_independent=False)
    escalation = Escalation(replace(PLAN, fallback={"mid": dependent}), 3)
    escalation.answered(0, answer([0.95, 0.95, 0.2], 0))
    assert [0, 1, 2] == escalation.unsure.tolist()


@pytest.mark.parametrize("rows", [None, 2])
def test_a_confidence_that_is_not_there_is_no_certainty(rows: int | None) -> None:
    """Also where rows mean nothing: an answer without the output, or a scalar in its place, is the backend's break."""
    for outputs in ([], [from_array("p", "FP64", np.array(0.99))]):
        with pytest.raises(InferenceError) as caught:
            Escalation(PLAN, rows).answered(0, outputs)
        assert ErrorKind.BROKEN is caught.value.kind


def test_what_only_the_cascade_reads_may_be_missing_above() -> None:
    """The last stage need not say how sure it is: then nobody is told, where some row has its answer."""
    escalation = Escalation(replace(PLAN, stages=(STAGES[0], STAGES[2])), 2)
    escalation.answered(0, answer([0.95, 0.2], 0))
    escalation.answered(1, answer([0.5], 1)[1:])
    (who,) = escalation.outputs(())
    assert ("who", [0, 1]) == (who.name, who.array().ravel().tolist())


@pytest.mark.parametrize("more", [[], ["who", "more"]])
def test_rows_of_other_outputs_are_not_mixed(more: list[str]) -> None:
    """A stage that lacks an output, or has one more, cannot answer for some rows only; for all of them it can."""
    second = [from_array(name, "INT64", np.zeros((1, 1))) for name in ("p", *more)]
    plan = replace(PLAN, stages=(STAGES[0], STAGES[2]))
    some, every = Escalation(plan, 2), Escalation(plan, 1)
    some.answered(0, answer([0.95, 0.2], 0))
    with pytest.raises(InferenceError, match="do not answer alike: not all of them have output"):
        some.answered(1, second)
    every.answered(0, answer([0.2], 0))
    every.answered(1, second)
    assert ["p", *more] == [tensor.name for tensor in every.outputs(())]


def test_a_question_in_json_is_asked_in_binary() -> None:
    """JSON has no NaN, which is an unsure row; what is asked for in binary anyway goes on as it came."""

    def asked(**parameters: object) -> InferenceRequest:
        x: dict[str, object] = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [0.5]}
        return decode_request(json.dumps({"inputs": [x], "parameters": parameters}).encode(), None, "m", "")

    text, binary = asked(), asked(binary_data_output=True)
    assert isinstance(question(text, PLAN, 0).payload, Tensors)
    assert question(binary, PLAN, 0) is binary
