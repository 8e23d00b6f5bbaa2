"""Tensors as JSON arrays."""

import math
import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import InferenceError
from backends.protocols.v2_json import bfloat16, elements_in, flatten, from_json, to_json
from backends.tensors import Tensor


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_fp32_is_exact(value: float) -> None:
    """Every FP32 number is printed so that it is read back the same."""
    tensor = from_json("x", "FP32", (1,), msgspec.Raw(msgspec.json.encode([value])))
    assert struct.pack("<f", value) == tensor.data
    assert msgspec.json.decode(msgspec.json.encode(to_json(tensor))) == [value]


def test_bfloat16_rounds_to_nearest_even() -> None:
    """The upper half of an FP32, rounded; halves go to the even neighbour."""
    values = np.array([0x3F800000, 0x3F808000, 0x3F818000, 0x3F808001], dtype=np.uint32).view(np.float32)
    assert bfloat16(values).tolist() == [0x3F80, 0x3F80, 0x3F82, 0x3F81]
    assert to_json(Tensor("x", "BF16", (1,), b"\x80\x3f")) == [1.0]


def test_extreme_integers() -> None:
    """64-bit integers keep every bit."""
    tensor = from_json("x", "UINT64", (1,), msgspec.Raw(b"[18446744073709551615]"))
    assert to_json(tensor) == [2**64 - 1]


def test_bytes_that_are_no_text() -> None:
    """JSON cannot carry arbitrary bytes, and says so."""
    with pytest.raises(InferenceError, match="binary_data"):
        to_json(Tensor("x", "BYTES", (1,), b"\1\0\0\0\xff"))


def test_flatten_keeps_order() -> None:
    """Leaves come out left to right."""
    assert flatten([[1, [2]], 3, []]) == [1, 2, 3]


@pytest.mark.parametrize(
    ("datatype", "text", "expected"),
    [
        ("INT32", "[]", 0),
        ("INT32", "[ [ ] ]", 0),
        ("FP32", "[1]", 1),
        ("FP32", "[[1, 2], [3, 4]]", 4),
        ("BYTES", '["a,b", "c"]', 2),
    ],
)
def test_elements_are_counted_unread(datatype: str, text: str, expected: int) -> None:
    """Flat, nested and empty arrays, and strings with commas in them."""
    assert expected == elements_in("x", datatype, msgspec.Raw(text.encode()))


def test_no_array_has_no_elements() -> None:
    """A bare number is not a tensor's data."""
    with pytest.raises(InferenceError, match="array"):
        elements_in("x", "INT32", msgspec.Raw(b"5"))


def test_empty_tensor() -> None:
    """No elements is a tensor too."""
    assert from_json("x", "FP64", (0, 3), msgspec.Raw(b"[]")).data == b""
    assert math.prod((0, 3)) == 0
