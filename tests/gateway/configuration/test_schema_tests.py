"""Tests of gateway.configuration.schema_tests: a request as a test writes it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.configuration.problems import UnreadableError
from gateway.configuration.schema_tests import LARGEST, read_any_text, read_number, read_parameter, read_priority

Read = Callable[[object], object]


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (read_number, 0),
        (read_number, LARGEST),
        (read_priority, 0),
        (read_priority, 9),
        *((read_parameter, value) for value in (True, 1, 1.5, "x", "")),
        (read_any_text, ""),
        (read_any_text, "x"),
    ],
)
def test_read(read: Read, value: object) -> None:
    """Plain values are what they are, of the same kind."""
    assert (value, type(value)) == (read(value), type(read(value)))


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (read_number, -1),
        (read_number, LARGEST + 1),
        (read_number, True),
        (read_number, 1.0),
        (read_number, "1"),
        (read_priority, 10),
        (read_priority, -1),
        (read_priority, False),
        (read_priority, "1"),
        (read_parameter, None),
        (read_parameter, [1]),
        (read_any_text, None),
        (read_any_text, 1),
    ],
)
def test_refused(read: Read, value: object) -> None:
    """Nothing else is a number of something, a priority, a parameter's value, or text."""
    with pytest.raises(UnreadableError):
        read(value)
