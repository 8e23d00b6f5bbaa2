"""Typed arrays as raw bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import InferenceError
from backends.tensors import (
    DTYPES,
    Tensor,
    check,
    elements,
    from_array,
    of_rows,
    pack_bytes,
    row_parts,
    scatter,
    take,
    unpack_bytes,
)


@given(st.lists(st.binary(max_size=20)))
def test_bytes_round_trip(values: list[bytes]) -> None:
    """Elements come back as they went in, empty ones too."""
    assert values == unpack_bytes(pack_bytes(values), "x")


@given(st.binary(max_size=60))
def test_unpacking_garbage_is_an_error_or_elements(buffer: bytes) -> None:
    """Any buffer is either exactly a list of elements or refused."""
    try:
        assert buffer == pack_bytes(unpack_bytes(buffer, "x"))
    except InferenceError:
        pass


@given(st.sampled_from(sorted(DTYPES)), st.integers(1, 5), st.data())
def test_take_then_scatter_restores(datatype: str, rows: int, data: st.DataObject) -> None:
    """Taking rows out and scattering them back changes no bit of any row."""
    size = rows * 3 * DTYPES[datatype].itemsize
    raw = data.draw(st.binary(min_size=size, max_size=size))
    if datatype == "BOOL":
        raw = bytes(byte & 1 for byte in raw)
    tensor = Tensor("x", datatype, (rows, 3), raw)
    chosen = data.draw(st.permutations(range(rows)))[: data.draw(st.integers(0, rows))]
    assert raw == bytes(scatter(tensor, chosen, take(tensor, chosen)).data)


def test_take_of_bytes() -> None:
    """BYTES rows are taken by element."""
    tensor = Tensor("x", "BYTES", (3, 1), pack_bytes([b"a", b"bb", b""]))
    assert take(tensor, [2, 0]).array().tolist() == [[b""], [b"a"]]


@given(st.sampled_from(["FP32", "INT8", "BYTES"]), st.integers(1, 5), st.integers(0, 3), st.data())
def test_rows_apart_and_together(datatype: str, rows: int, width: int, data: st.DataObject) -> None:
    """Rows taken apart and put together in any order are the rows; all of them are the tensor, bit for bit."""
    if datatype == "BYTES":
        raw = pack_bytes(data.draw(st.lists(st.binary(max_size=3), min_size=rows * width, max_size=rows * width)))
    else:
        size = rows * width * DTYPES[datatype].itemsize
        raw = data.draw(st.binary(min_size=size, max_size=size))
    tensor = Tensor("x", datatype, (rows, width), raw)
    parts = row_parts(tensor)
    assert (rows, tensor) == (len(parts), of_rows("x", datatype, (width,), parts))
    order = data.draw(st.lists(st.integers(0, rows - 1), min_size=1))
    chosen = of_rows("x", datatype, (width,), [parts[row] for row in order])
    assert bytes(take(tensor, order).data) == chosen.data
    assert (len(order), width) == chosen.shape
    assert [] == row_parts(Tensor("x", datatype, (0, width), b""))


def test_scatter_refuses_what_does_not_fit() -> None:
    """Another datatype, row shape or count is no update of these rows."""
    onto = from_array("x", "FP32", np.zeros((2, 2)))
    for update in (
        from_array("x", "FP64", np.zeros((1, 2))),
        from_array("x", "FP32", np.zeros((1, 3))),
        from_array("x", "FP32", np.zeros((2, 2))),
    ):
        with pytest.raises(ValueError, match="does not fit"):
            scatter(onto, [0], update)


def test_elements_cannot_overflow() -> None:
    """A product past 64 bits is still a number, and negative dimensions are refused."""
    assert elements([2**40, 2**40], "x") == 2**80
    with pytest.raises(InferenceError, match="negative"):
        elements([2, -1], "x")


@pytest.mark.parametrize(
    "tensor", [Tensor("x", "FP32", (2,), b"1234"), Tensor("x", "NOPE", (1,), b""), Tensor("x", "BYTES", (2,), pack_bytes([b"a"]))]
)
def test_check_says_what_was_expected(tensor: Tensor) -> None:
    """Data that is not what datatype and shape promise is refused by the input's name."""
    with pytest.raises(InferenceError, match="'x'"):
        check(tensor)
