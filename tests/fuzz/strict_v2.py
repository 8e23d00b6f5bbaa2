"""A second reader of Open Inference Protocol questions for the fuzz targets: Python's json, struct and numpy, no product code."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

WHOLE = {
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
}
REAL = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
SIZES = {**{name: int(code[2]) for name, code in (WHOLE | REAL).items()}, "BF16": 2, "BOOL": 1}
DATATYPES = (*SIZES, "BYTES")
Parameters = dict[str, tuple[str, bool | int | float | str]]
"""Each with its kind: for Python true, 1 and 1.0 are equal, for a backend they are not."""


class NotV2Error(Exception):
    """By the letter, this says nothing, or two things."""


class Token(str):
    """A number as it is written, with a point or exponent in it."""


class WholeToken(Token):
    """One without."""


@dataclass(frozen=True)
class Input:
    """One tensor: BYTES as 4-byte lengths and texts, everything else as little-endian elements."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: Parameters
    raw: bytes


@dataclass(frozen=True)
class Question:
    """All that a request says, whichever way it says it."""

    id: str
    parameters: Parameters
    inputs: tuple[Input, ...]
    outputs: tuple[tuple[str, Parameters], ...]


def parsed(text: bytes) -> Any:
    """The JSON, numbers as their tokens. Raises NotV2Error for what RFC 8259 does not allow, and for repeated keys."""
    try:
        return json.loads(text.decode(), object_pairs_hook=_once, parse_int=WholeToken, parse_float=Token, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise NotV2Error from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _demand(len({key for key, _ in pairs}) == len(pairs))
    return dict(pairs)


def _refuse(constant: str) -> None:
    raise NotV2Error(constant)


def leaves(nested: Any) -> list[Any]:
    """The elements of nested lists in the order they are written."""
    _demand(isinstance(nested, list))
    return [leaf for item in nested for leaf in (leaves(item) if isinstance(item, list) else [item])]


def hollow(nested: Any) -> bool:
    """Whether a list without elements stands beside elements, as in no array."""
    inner = [item for item in nested if isinstance(item, list)]
    return bool(leaves(nested)) and any(not leaves(item) or hollow(item) for item in inner)


def packed(datatype: str, nested: Any) -> tuple[int, bytes]:
    """How many elements there are, and their bytes."""
    values = leaves(nested)
    if datatype == "BYTES":
        texts = [_text(value).encode() for value in values]
        return len(values), b"".join(struct.pack("<I", len(text)) + text for text in texts)
    if datatype == "BOOL":
        _demand(all(isinstance(value, bool) for value in values))
        return len(values), b"".join(b"\1" if value else b"\0" for value in values)
    if datatype in WHOLE:
        return len(values), b"".join(_whole_bytes(WHOLE[datatype], whole(value)) for value in values)
    return len(values), b"".join(_real_bytes(datatype, real(value)) for value in values)


def _whole_bytes(code: str, value: int) -> bytes:
    limits = np.iinfo(code)
    _demand(int(limits.min) <= value <= int(limits.max))
    return np.array([value], dtype=code).tobytes()


def _real_bytes(datatype: str, value: float) -> bytes:
    with np.errstate(all="ignore"):
        if datatype != "BF16":
            narrow = np.array([value], dtype=REAL[datatype])
            _demand(bool(np.isfinite(narrow).all()))
            return narrow.tobytes()
        single = int(np.array([value], dtype="<f4").view("<u4")[0])
    upper, lower = divmod(single, 1 << 16)
    upper += lower > 0x8000 or (lower == 0x8000 and upper & 1)  # to nearest, halves to even
    _demand(upper & 0x7F80 != 0x7F80)
    return struct.pack("<H", upper)


def whole(value: Any) -> int:
    """A token as an integer."""
    _demand(isinstance(value, WholeToken) and len(value) < 4000)
    return int(value)


def real(value: Any) -> float:
    """A token as a finite double. As for Python's json, a 0 without a point is an integer, which has no sign."""
    _demand(isinstance(value, Token))
    found = float(value)
    _demand(abs(found) != float("inf"))
    return found or 0.0 if isinstance(value, WholeToken) else found


def _text(value: Any) -> str:
    _demand(isinstance(value, str) and not isinstance(value, Token))
    _demand(not re.search("[\ud800-\udfff]", value))  # a half of a surrogate pair is no character
    return str(value)


def question(body: bytes, length: str | None) -> Question:
    """What a body says whose JSON has so many bytes (None: all of it). Raises NotV2Error."""
    if length is not None:
        _demand(re.fullmatch("[0-9]{1,10}", length) is not None and 0 < int(length) <= len(body))
    split = len(body) if length is None else int(length)
    message, tail = parsed(body[:split]), body[split:]
    _demand(isinstance(message, dict) and isinstance(message.get("inputs"), list))
    inputs = []
    for part in message["inputs"]:
        found, used = _input(part, tail)
        inputs.append(found)
        tail = tail[used:]
    _demand(not tail and bool(inputs) and len({each.name for each in inputs}) == len(inputs))
    outputs = message.get("outputs")
    _demand(outputs is None or (isinstance(outputs, list) and all(isinstance(part, dict) for part in outputs)))
    asked = tuple((_text(part.get("name")), _parameters(part)) for part in outputs or [])
    name = message.get("id")
    return Question("" if name is None else _text(name), _parameters(message), tuple(inputs), asked)


def _input(part: Any, tail: bytes) -> tuple[Input, int]:
    """One input, and how much of the tail is its."""
    _demand(isinstance(part, dict) and isinstance(part.get("shape"), list))
    datatype, shape, parameters = _text(part.get("datatype")), tuple(map(whole, part["shape"])), _parameters(part)
    _demand(datatype in DATATYPES and all(0 <= dim < 1 << 63 for dim in shape))
    count = 1
    for dim in shape:
        count *= dim
    _demand(("data" in part) != ("binary_data_size" in parameters))
    kind, size = parameters.pop("binary_data_size", ("int", 0))
    if "data" in part:
        found, raw = packed(datatype, part["data"])
        _demand(found == count)
    else:
        _demand(kind == "int" and 0 <= int(size) <= len(tail))
        raw = tail[: int(size)]
        _demand(_texts(raw) == count if datatype == "BYTES" else len(raw) == count * SIZES[datatype])
    return Input(_text(part.get("name")), datatype, shape, parameters, raw), int(size)


def _texts(raw: bytes) -> int:
    """How many length-prefixed texts these bytes are."""
    count = 0
    while raw:
        _demand(len(raw) >= 4)
        end = 4 + int(struct.unpack("<I", raw[:4])[0])
        _demand(len(raw) >= end)
        raw, count = raw[end:], count + 1
    return count


def _parameters(part: dict[str, Any]) -> Parameters:
    found = part.get("parameters")
    if found is None:
        return {}
    _demand(isinstance(found, dict) and not any(name.startswith("shared_memory") for name in found))
    return {_text(name): _parameter(value) for name, value in found.items()}


def _parameter(value: Any) -> tuple[str, bool | int | float | str]:
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, WholeToken):
        return "int", whole(value)
    return ("float", real(value)) if isinstance(value, Token) else ("str", _text(value))


def _demand(holds: bool) -> None:
    if not holds:
        raise NotV2Error
