"""Parameters with a meaning of their own: what they may say."""

from __future__ import annotations

import pytest

from backends.errors import ErrorKind, InferenceError
from backends.inference import Parameter
from backends.parameters import check_output, check_request

GOOD: list[dict[str, Parameter]] = [
    {},
    {"sequence_id": 2**64 - 1, "sequence_start": True, "sequence_end": False},
    {"sequence_id": "call-7"},
    {"priority": 0, "timeout": 5_000_000, "binary_data_output": True},
    {"temperature": 0.5, "mine": "x", "other": -1},
]


@pytest.mark.parametrize("parameters", GOOD)
def test_what_may_pass(parameters: dict[str, Parameter]) -> None:
    """Values in range, and whatever a model calls its own."""
    check_request(parameters)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sequence_id", -5), ("sequence_id", 1.5), ("sequence_id", True), ("sequence_start", "x"), ("sequence_end", 1),
        ("priority", "x"), ("priority", -1), ("priority", 2**64), ("timeout", 1e30), ("timeout", "x"), ("timeout", False),
        ("binary_data_output", "yes"), ("binary_data_output", 1), ("shared_memory_region", "r"),
    ],
)  # fmt: skip
def test_what_no_server_could_obey(name: str, value: Parameter) -> None:
    """Refused as the client's mistake, by name."""
    with pytest.raises(InferenceError) as caught:
        check_request({"mine": 1, name: value})
    assert ErrorKind.INVALID is caught.value.kind
    assert "shared memory" in caught.value.message or f"'{name}'" in caught.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [("classification", "x"), ("classification", -1), ("classification", 1.5), ("binary_data", "yes"), ("binary_data", 1),
     ("shared_memory_offset", 0)],
)  # fmt: skip
def test_outputs(name: str, value: Parameter) -> None:
    """Their own parameters, with the output's name in the error."""
    check_output({"classification": 3, "binary_data": False}, "y")
    with pytest.raises(InferenceError, match="output 'y'"):
        check_output({name: value}, "y")
