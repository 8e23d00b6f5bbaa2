"""Tensors as JSON arrays, flat or nested in row-major order, with every element checked against its datatype."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from backends.errors import InferenceError, invalid
from backends.tensors import BYTES, DTYPES, Tensor, elements, pack_bytes

_FLOATS = frozenset({"FP16", "FP32", "FP64", "BF16"})
_flat_floats = msgspec.json.Decoder(list[float]).decode
_flat_integers = msgspec.json.Decoder(list[int]).decode
_flat_booleans = msgspec.json.Decoder(list[bool]).decode
_flat_strings = msgspec.json.Decoder(list[str]).decode
_anything = msgspec.json.Decoder().decode


def from_json(name: str, datatype: str, shape: tuple[int, ...], raw: msgspec.Raw) -> Tensor:
    """The tensor a JSON array stands for. Raises INVALID with the input's name and what was expected."""
    values = _values(name, datatype, raw)
    count = elements(shape, name)
    if len(values) != count:
        raise invalid(f"input '{name}' has {len(values)} elements; shape {list(shape)} needs {count}", "shape")
    if datatype == BYTES:
        return Tensor(name, datatype, shape, pack_bytes(value.encode("utf-8", "surrogatepass") for value in values))
    try:
        if datatype == "BF16":
            array = bfloat16(np.array(values, dtype=np.float32))
        else:
            with np.errstate(over="raise"):
                array = (
                    np.array(values, dtype=np.float64).astype(DTYPES[datatype])
                    if datatype == "FP16"
                    else np.array(values, DTYPES[datatype])
                )
    except (OverflowError, FloatingPointError):
        raise invalid(f"input '{name}' holds a number out of the range of {datatype}", "range") from None
    if datatype in ("FP32", "FP16") and not np.isfinite(array).all():  # JSON has no infinity: it came from a number too large
        raise invalid(f"input '{name}' holds a number out of the range of {datatype}", "range")
    return Tensor(name, datatype, shape, array.tobytes())


def elements_in(name: str, datatype: str, raw: msgspec.Raw) -> int:
    """How many elements a JSON array has, nested or flat, without reading numbers: one more than it has commas.

    Raises INVALID for what is no array; BYTES, whose strings may hold commas, are read.
    """
    if datatype == BYTES:
        return len(_values(name, datatype, raw))
    text = bytes(raw)
    if not text.startswith(b"["):
        raise invalid(f"input '{name}' is {datatype}: its data must be an array", "elements")
    return text.count(b",") + 1 if text.strip(b"[] \t\r\n") else 0


def _values(name: str, datatype: str, raw: msgspec.Raw) -> list[Any]:
    """The elements as one flat list of the right Python type; a nested array is flattened and read again."""
    decode: Any
    if datatype in _FLOATS:
        decode, kind = _flat_floats, "numbers"
    elif datatype == "BOOL":
        decode, kind = _flat_booleans, "true or false"
    elif datatype == BYTES:
        decode, kind = _flat_strings, "strings"
    else:
        decode, kind = _flat_integers, "whole numbers"
    try:
        try:
            return list(decode(raw))
        except msgspec.ValidationError:
            return list(decode(msgspec.json.encode(flatten(_anything(raw)))))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise invalid(f"input '{name}' is {datatype}: its data must be an array of {kind}", "elements") from None


def flatten(nested: Any) -> list[Any]:
    """The leaves of nested lists, in order; anything that is no list is a leaf. Bounded by the JSON decoder's own depth."""
    if not isinstance(nested, list):
        raise msgspec.ValidationError("not an array")
    flat: list[Any] = []
    for item in nested:
        if isinstance(item, list):
            flat.extend(flatten(item))
        else:
            flat.append(item)
    return flat


def bfloat16(values: Any) -> Any:
    """FP32 values rounded to nearest-even BF16, as the uint16 of their upper halves."""
    bits = np.asarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def to_json(tensor: Tensor) -> list[Any]:
    """The elements as one flat list for a JSON answer. Raises INVALID where JSON cannot carry them: binary can."""
    flat = tensor.array().ravel()
    if tensor.datatype == BYTES:
        try:
            return [value.decode() for value in flat]
        except UnicodeDecodeError:
            raise _unfit(tensor, "bytes that are not UTF-8 text") from None
    if tensor.datatype == "BF16":
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    if flat.dtype.kind == "f" and not np.isfinite(flat).all():
        raise _unfit(tensor, "NaN or infinity")
    return flat.tolist()


def _unfit(tensor: Tensor, what: str) -> InferenceError:
    return invalid(f"output '{tensor.name}' holds {what}, which JSON cannot carry: ask for it with \"binary_data\": true", "json")
