"""What a plan says of itself."""

from __future__ import annotations

import pytest

from routing.plan import Confidence, Plan, Stage, Target

FAST, DEAR, ODD = Target("fast", "t", "f"), Target("dear", "t", "d"), Target("odd", "t", "o", row_independent=False)


@pytest.mark.parametrize(
    ("stages", "fallback", "expected"),
    [
        ((FAST, DEAR), {}, True),
        ((FAST, ODD), {}, False),
        ((FAST, DEAR), {"dear": FAST}, True),
        ((FAST, DEAR), {"dear": ODD}, False),
    ],
)
def test_rows_are_independent_where_they_are_of_everybody(
    stages: tuple[Target, ...], fallback: dict[str, Target], expected: bool
) -> None:
    """Of every stage, and of whoever may stand in for one."""
    assert expected == Plan("r", tuple(map(Stage, stages)), 1.0, fallback=fallback).row_independent


@pytest.mark.parametrize(
    ("confidence", "text"),
    [
        (Confidence("p", "margin"), "margin of p"),
        (Confidence("p", "entropy", logits=True), "entropy of the softmax of p"),
        (Confidence("answer", "json", path=("a", "0")), "json of $.a.0 in answer"),
    ],
)
def test_a_confidence_in_words(confidence: Confidence, text: str) -> None:
    """What it is read from."""
    assert text == confidence.text
