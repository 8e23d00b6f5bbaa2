"""Numbers in a JSON document, for confidences that a model writes down beside its answer."""

from __future__ import annotations

import math
from typing import Any

import msgspec

LONGEST = 256 << 10  # bytes; what is longer is not read: 1 ms
_decode = msgspec.json.Decoder().decode
_NONE: list[float] = [math.nan]


def numbers(text: bytes, path: tuple[str, ...]) -> list[float]:
    """The numbers at a place (keys, places in lists, `*` for each of either), a list there being its elements.

    One NaN for whatever cannot be read or is too long or too deep; NaN in the place of what is missing or no number.
    """
    if len(text) > LONGEST:
        return _NONE
    try:
        found: list[Any] = [_decode(text)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _NONE
    for step in path:
        found = [below for each in found for below in _below(each, step)]
    if len(found) == 1 and isinstance(found[0], list):
        found = found[0]
    return [_number(each) for each in found] or _NONE


def _below(tree: Any, step: str) -> list[Any]:
    if isinstance(tree, dict):
        return (list(tree.values()) or [None]) if step == "*" else [tree.get(step)]
    if isinstance(tree, list):
        if step == "*":
            return tree or [None]
        return [tree[int(step)] if step.isdigit() and int(step) < len(tree) else None]
    return [None]


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan
