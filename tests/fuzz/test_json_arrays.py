"""Tensors written as JSON arrays: the decoder and Python's own json with numpy agree on every byte, or both refuse."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import ErrorKind, InferenceError
from backends.protocols.v2_json import from_json
from tests.fuzz.arrays import SHAPES, written
from tests.fuzz.strict_v2 import DATATYPES, NotV2Error, hollow, packed, parsed
from tests.fuzz.wires import OFTEN, changes, mutated

pytestmark = pytest.mark.slow

PIECES = (b"[", b"]", b"[]", b",", b"0", b"-", b".", b"e9", b"\"", b"\\", b"null", b" ", b"\x0c", b"\xff", b"1e400",
b"")  # fmt: skip
_raw = msgspec.json.Decoder(msgspec.Raw).decode


@st.composite
def arrays(draw: st.DrawFn) -> tuple[str, tuple[int, ...], bytes]:
    """Datatype, shape, and JSON that often fits both."""
    datatype, shape = draw(st.sampled_from(DATATYPES)), draw(SHAPES)
    text = draw(written(datatype, shape, odd=draw(st.integers(0, 3)) == 0))
    if draw(st.integers(0, 9)) == 0:
        datatype = draw(st.sampled_from(DATATYPES))
    return datatype, shape, mutated(text.encode("utf-8", "surrogatepass"), draw(changes(PIECES, 2)))


def decoded(datatype: str, shape: tuple[int, ...], text: bytes) -> bytes | None:
    """The tensor's bytes, or None for a refusal. As in a message, what is no JSON at all is found out by msgspec before."""
    try:
        return bytes(from_json("x", datatype, shape, _raw(text)).data)
    except InferenceError as error:
        assert (ErrorKind.INVALID, "client") == (error.kind, error.source)  # noqa: PT017 - a refusal is as good as an answer
    except msgspec.DecodeError:
        pass
    return None


def reference(datatype: str, shape: tuple[int, ...], text: bytes) -> tuple[bytes | None, bool]:
    """The same by the strict reader, and whether the array is one that may be refused although its elements are good."""
    try:
        nested = parsed(text)
        count, raw = packed(datatype, nested)
    except NotV2Error:
        return None, True
    wanted = 1
    for dim in shape:
        wanted *= dim
    return (raw if count == wanted else None), hollow(nested)


@OFTEN
@given(arrays())
def test_hostile_arrays(array: tuple[str, tuple[int, ...], bytes]) -> None:
    """Each array gives the very bytes that the strict reader gives, or is refused, as that refuses it."""
    expected, doubtful = reference(*array)
    found = decoded(*array)
    assert expected == found or (found is None and doubtful)
