"""Tensors as JSON arrays."""

import json
import math
import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import InferenceError
from backends.protocols.v2_json import bfloat16, flatten, from_json, to_json
from backends.tensors import Tensor, pack_bytes


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


@pytest.mark.parametrize("datatype", ["INT32", "FP32", "BYTES"])
def test_no_array_is_no_tensor(datatype: str) -> None:
    """A bare number is not a tensor's data."""
    with pytest.raises(InferenceError, match="array"):
        from_json("x", datatype, (1,), b"5")


@pytest.mark.parametrize(
    ("datatype", "text", "said"),
    [
        ("INT32", "2147483648", "range"), ("INT32", "1.0", "whole numbers"), ("INT32", "true", "whole numbers"),
        ("INT32", "null", "whole numbers"), ("INT8", "-129", "range"), ("UINT8", "-1", "range"), ("UINT64", "1" * 40, "range"),
        ("FP32", "1e39", "range"), ("FP64", "1e400", "range"), ("FP32", "true", "numbers"), ("FP32", '"1"', "numbers"),
        ("FP32", "NaN", "numbers"), ("FP16", "65520", "range"), ("BF16", "3.4e38", "range"), ("BF16", "1e39", "range"),
        ("BOOL", "1", "true or false"), ("BYTES", "1", "strings"), ("FP32", "{}", "numbers"), ("FP32", '"[1]"', "numbers"),
    ],
)  # fmt: skip
def test_elements_that_do_not_fit_are_refused(datatype: str, text: str, said: str) -> None:
    """Each element is of the datatype's kind and within its range, or the error says what was expected."""
    with pytest.raises(InferenceError, match=said):
        from_json("x", datatype, (1,), f"[{text}]".encode())


@pytest.mark.parametrize("text", ["[[[1, 2], [3, 4]]]", "[1,2,3,4]", " [ [1,2] ,[3,4]]".strip()])
def test_nesting_is_row_major(text: str) -> None:
    """However deep, elements come in the order they are written."""
    assert struct.pack("<4i", 1, 2, 3, 4) == from_json("x", "INT32", (2, 2), text.encode()).data


@pytest.mark.parametrize("text", [b"[]", b"[[], []]", b"[ [ ],\n[]]"])
@pytest.mark.parametrize("datatype", ["INT8", "FP32", "BF16", "BOOL", "BYTES"])
def test_nested_lists_without_elements(datatype: str, text: bytes) -> None:
    """What numpy writes for an array of shape [2, 0] is read as that."""
    assert b"" == from_json("x", datatype, (2, 0), text).data


def test_long_arrays_are_read_in_pieces() -> None:
    """An array of several MiB is read whole, whatever the pieces it is cut into."""
    values = list(range(400_000))
    text = msgspec.json.encode(values)
    assert len(text) > 2 << 20
    assert struct.pack(f"<{len(values)}i", *values) == from_json("x", "INT32", (len(values),), text).data
    with pytest.raises(InferenceError, match="whole numbers"):
        from_json("x", "INT32", (len(values),), text[:-1] + b",1.5]")


@pytest.mark.parametrize("odd", ["a", ",", '","', "[", ']"]', "\\", '\\"', "\n\u20ac\U0001f40d", ""])
@pytest.mark.parametrize("rows", [1, 2])
def test_long_arrays_of_texts_are_read_in_pieces(odd: str, rows: int) -> None:
    """Wherever they are cut, and whatever the texts say."""
    texts = [odd * (number % 3) + str(number % 7) + odd for number in range(200_000)]
    half = len(texts) // rows
    written = texts if rows == 1 else [texts[:half], texts[half:]]
    tensor = from_json("x", "BYTES", (len(texts),), json.dumps(written, indent=1).encode())
    assert pack_bytes(text.encode() for text in texts) == tensor.data


@pytest.mark.parametrize("odd", ["1", "null", '{"a": "b"}', '["b", 1]', "true"])
@pytest.mark.parametrize("at", [0, 100_000, 200_000])
def test_long_arrays_of_more_than_texts_are_refused(odd: str, at: int) -> None:
    """In the words that short ones are."""
    texts = ['"abcdef"'] * 200_000
    texts.insert(at, odd)
    with pytest.raises(InferenceError, match="input 'x' is BYTES: its data must be an array of strings"):
        from_json("x", "BYTES", (len(texts),), f"[{','.join(texts)}]".encode())


def test_empty_tensor() -> None:
    """No elements is a tensor too."""
    assert from_json("x", "FP64", (0, 3), msgspec.Raw(b"[]")).data == b""
    assert math.prod((0, 3)) == 0
