"""Tests of gateway.configuration.schema_cascade."""

from __future__ import annotations

import pytest

from gateway.configuration.problems import UnreadableError
from gateway.configuration.schema_cascade import read_knot


def test_a_knot() -> None:
    """Any score, and a chance."""
    assert (-3.5, 0.25) == read_knot([-3.5, 0.25])
    assert (12.0, 1.0) == read_knot([12, 1])


@pytest.mark.parametrize(
    "value", [None, 0.5, "0.5, 0.6", {}, [], [0.5], [0.5, 0.6, 0.7], [0.5, 1.1], [0.5, -0.1], [0.5, "a"], [True, 1]]
)
def test_no_knot(value: object) -> None:
    """Anything but two numbers, of which the second lies between 0 and 1."""
    with pytest.raises(UnreadableError):
        read_knot(value)
