"""Tensors as JSON arrays, flat or nested in row-major order, with every element checked against its datatype."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np

from backends.errors import InferenceError, invalid
from backends.tensors import BYTES, Tensor, elements, pack_bytes


class _Kind(NamedTuple):
    """How the elements of a datatype are written in JSON, and how they are packed; the pack raises what is out of range."""

    words: str
    read: Callable[[bytes], list[Any]]
    pack: Callable[[list[Any]], bytes]


def _packer(code: str) -> Callable[[list[Any]], bytes]:
    return lambda values: struct.pack(f"<{len(values)}{code}", *values)  # for floats and ints twice as fast as numpy


def _pack_bfloat16(values: list[float]) -> bytes:
    with np.errstate(over="raise"):
        rounded = bfloat16(np.array(values, dtype=np.float64).astype(np.float32))
    if ((rounded & 0x7F80) == 0x7F80).any():  # JSON has no infinity: it came from a number too large
        raise OverflowError
    return bytes(rounded.tobytes())


_floats = msgspec.json.Decoder(list[float]).decode
_integers = msgspec.json.Decoder(list[int]).decode
_booleans = msgspec.json.Decoder(list[bool]).decode
_strings = msgspec.json.Decoder(list[str]).decode
_anything = msgspec.json.Decoder().decode
_INTEGERS = {"INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q"}
_FLOATS = {"FP16": "e", "FP32": "f", "FP64": "d"}
_KINDS = {
    **{datatype: _Kind("whole numbers", _integers, _packer(code)) for datatype, code in _INTEGERS.items()},
    **{datatype: _Kind("numbers", _floats, _packer(code)) for datatype, code in _FLOATS.items()},
    "BF16": _Kind("numbers", _floats, _pack_bfloat16),
    "BOOL": _Kind("true or false", _booleans, bytes),
}
_PIECE = 1 << 20  # bytes of JSON read in one call: reading holds the interpreter for about 2 ms per MiB
_SOME = re.compile(rb'(?:[ \t\r\n,\[\]]*"[^"]*"){1,8192}')  # texts of one piece, where every quote begins or ends one
_EACH, _END = re.compile(rb'"[^"]*"'), re.compile(rb"[ \t\r\n,\[\]]*")


def from_json(name: str, datatype: str, shape: tuple[int, ...], raw: bytes | msgspec.Raw) -> Tensor:
    """The tensor a JSON array stands for. Raises INVALID with the input's name and what was expected."""
    wanted = elements(shape, name)
    text = bytes(raw)
    try:
        if not text.startswith(b"["):
            raise msgspec.ValidationError("not an array")
        count, packed = _texts(text) if datatype == BYTES else _numbers(_KINDS[datatype], text)
    except msgspec.ValidationError as error:
        if "out of range" in str(error):  # msgspec's words for a number that no float or integer holds
            raise _out_of_range(name, datatype) from None
        raise _unlike(name, datatype) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise _unlike(name, datatype) from None
    except (struct.error, OverflowError, FloatingPointError):
        raise _out_of_range(name, datatype) from None
    if count != wanted:
        raise invalid(f"input '{name}' has {count} elements; shape {list(shape)} needs {wanted}", "shape")
    return Tensor(name, datatype, shape, packed)


def _numbers(kind: _Kind, text: bytes) -> tuple[int, bytes]:
    """How many elements there are, and their bytes."""
    if text.rfind(b"[") > 0:
        flat = text.translate(None, b"[]")  # nesting adds nothing to row-major order
        text = b"[%b]" % (flat if flat.strip(b", \t\r\n") else b"")  # of [[], []] commas alone are left
    if len(text) <= _PIECE:
        values = kind.read(text)
        return len(values), kind.pack(values)
    count, packed = 0, []
    for piece in _pieces(text):
        values = kind.read(piece)
        count += len(values)
        packed.append(kind.pack(values))
    return count, b"".join(packed)


def _pieces(text: bytes) -> Iterator[bytes]:
    """A flat array of numbers, cut at commas into arrays of about _PIECE bytes."""
    at = 1
    while (cut := text.find(b",", at + _PIECE)) >= 0:
        yield b"[%b]" % text[at:cut]
        at = cut + 1
    yield b"[%b" % text[at:]


def _texts(text: bytes) -> tuple[int, bytes]:
    """As _numbers. A long one is read piece by piece: a million texts at once would be a hundred times as large as their JSON.

    Whoever gives it a long one has looked through its syntax, as msgspec.Raw has: between the texts anything goes here.
    """
    if len(text) <= _PIECE:
        return _texts_at_once(text)
    count, packed, at = 0, [], 0
    plain = text.replace(b"\\\\", b"__").replace(b'\\"', b"__")  # as long
    while (piece := _SOME.match(plain, at)) is not None:
        each = [text[one.start() : one.end()] for one in _EACH.finditer(plain, at, piece.end())]
        found, part = _texts_at_once(b"[%b]" % b",".join(each))
        count += found
        packed.append(part)
        at = piece.end()
    if _END.fullmatch(text, at) is None:
        raise msgspec.ValidationError("not an array of strings")
    return count, b"".join(packed)


def _texts_at_once(text: bytes) -> tuple[int, bytes]:
    try:
        values = _strings(text)
    except msgspec.ValidationError:
        values = _strings(msgspec.json.encode(flatten(_anything(text))))
    return len(values), pack_bytes(value.encode() for value in values)


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


def _unlike(name: str, datatype: str) -> InferenceError:
    words = "strings" if datatype == BYTES else _KINDS[datatype].words
    return invalid(f"input '{name}' is {datatype}: its data must be an array of {words}", "elements")


def _out_of_range(name: str, datatype: str) -> InferenceError:
    return invalid(f"input '{name}' holds a number out of the range of {datatype}", "range")


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
            raise unfit(f"output '{tensor.name}' holds bytes that are not UTF-8 text") from None
    if tensor.datatype == "BF16":
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    if flat.dtype.kind == "f" and not np.isfinite(flat).all():
        raise unfit(f"output '{tensor.name}' holds NaN or infinity")
    return flat.tolist()


def unfit(what: str) -> InferenceError:
    """For an answer that JSON cannot carry."""
    return invalid(f'{what}, which JSON cannot carry: ask for it with "binary_data": true', "json")
