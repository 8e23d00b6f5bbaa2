"""What is recorded of an answer: a label and a raw score for each row, as a cascade would read them."""

from __future__ import annotations

import numpy as np
import pytest

from backends.errors import InferenceError
from backends.tensors import Tensor
from routing.shadow.pairs import MOST_ROWS, side
from routing.shadow.shadows import Record


def probabilities(rows: int) -> Tensor:
    values = np.zeros((rows, 3), np.float32)
    values[:, 2] = np.linspace(0.25, 1.0, rows)
    return Tensor("p", "FP32", values.shape, values.tobytes())


def test_label_and_score() -> None:
    """The largest's place and its value, or the output that is named for the label."""
    found = side(Record("p", "max-softmax"), ("fast", "2"), (probabilities(4),), 4)
    assert ("fast", "2", ["2", "2", "2", "2"]) == (found.variant, found.version, list(found.labels))
    assert [0.25, 0.5, 0.75, 1.0] == found.scores.tolist()
    label = Tensor("l", "INT64", (4,), np.arange(4, dtype=np.int64).tobytes())
    assert ["0", "1", "2", "3"] == list(
        side(Record("p", "max-softmax", label="l"), ("fast", ""), (probabilities(4), label), 4).labels
    )


def test_a_question_of_many_rows() -> None:
    """Is recorded by its first rows."""
    found = side(Record("p", "margin"), ("fast", ""), (probabilities(1000),), 1000)
    assert (MOST_ROWS, MOST_ROWS) == (len(found.labels), len(found.scores))


def test_an_answer_without_the_output() -> None:
    """Has nothing to record, and says so."""
    with pytest.raises(InferenceError, match="no confidence in output 'q'"):
        side(Record("q", "max-softmax"), ("fast", ""), (probabilities(4),), 4)
