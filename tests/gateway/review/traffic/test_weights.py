"""Weights by key."""

from __future__ import annotations

from gateway.review.traffic.weights import Weights


def test_weights_add_up() -> None:
    """One by one or many at once, whole or in part."""
    weights = Weights[str]()
    weights["a"] += 0.5
    weights.take({"a": 1.0, "b": 4.0}, 0.25)
    weights.take({"b": 0.5})
    assert {"a": 0.75, "b": 1.5} == weights


def test_the_heaviest_come_first() -> None:
    """And of equal ones whichever came first."""
    weights = Weights[str]()
    weights.take({"light": 1.0, "one": 2.0, "other": 2.0})
    assert [("one", 2.0), ("other", 2.0), ("light", 1.0)] == weights.heaviest()
