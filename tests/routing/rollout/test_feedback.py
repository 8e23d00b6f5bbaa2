"""What may be told of a request, and what it counts as."""

from __future__ import annotations

import math

import pytest

from routing.rollout.feedback import Feedback, Value

HAPPENED, STARS = Feedback("bought"), Feedback("stars", "told", 1.0, 5.0)
MOOD = Feedback("mood", low=-1.0, high=1.0, labels={"good": 1.0, "bad": -1.0})


@pytest.mark.parametrize(
    ("feedback", "value", "counts"),
    [
        (HAPPENED, True, 1.0),
        (HAPPENED, False, 0.0),
        (HAPPENED, 0.5, 0.5),
        (HAPPENED, 2, None),
        (HAPPENED, "yes", None),
        (STARS, 5, 5.0),
        (STARS, 0, None),
        (STARS, True, None),
        (STARS, math.nan, None),
        (STARS, math.inf, None),
        (MOOD, "bad", -1.0),
        (MOOD, "sad", None),
        (MOOD, 1, None),
    ],
)
def test_values(feedback: Feedback, value: Value, counts: float | None) -> None:
    """Numbers between the bounds, true and false of what happens or does not, labels that are known."""
    assert counts == feedback.read(value)
