"""Scores of answers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import ErrorKind, InferenceError
from backends.tensors import Tensor, from_array
from routing.cascade.confidence import LOGPROBS, METRICS, confidences
from routing.plan import Confidence


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
