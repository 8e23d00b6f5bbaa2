"""Tests of gateway.configuration.schema_shadows: the values only shadows have."""

from __future__ import annotations

import pytest

from gateway.configuration.problems import UnreadableError
from gateway.configuration.schema_shadows import read_likeness, read_place, read_top


def test_values() -> None:
    """As people write them."""
    assert [0.0, 0.98, 1.0] == [read_likeness(each) for each in (0, 0.98, 1)]
    assert [1, 100] == [read_top(each) for each in (1, 100)]
    assert "$.a[*].b" == read_place("$.a[*].b")


@pytest.mark.parametrize("value", [True, 1.5, -0.1, "a", None])
def test_no_likeness(value: object) -> None:
    """Nothing but a number from 0 to 1."""
    with pytest.raises(UnreadableError):
        read_likeness(value)


@pytest.mark.parametrize("value", [True, 0, 101, 2.0, "3"])
def test_no_depth(value: object) -> None:
    """Nothing but a whole number within reason."""
    with pytest.raises(UnreadableError):
        read_top(value)


@pytest.mark.parametrize(("value", "meant"), [("a.b", "$.a.b"), ("a b", None), (3, None)])
def test_no_place(value: object, meant: str | None) -> None:
    """What was probably meant is said."""
    with pytest.raises(UnreadableError) as refused:
        read_place(value)
    assert meant == refused.value.suggestion
