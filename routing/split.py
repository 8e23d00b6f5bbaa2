"""Sticky weighted choice: a unit's place on the line from 0 to 1 is fixed by a keyed hash, the weights cut the line."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

_SCALE = float(1 << 64)


def place(key: str, unit: str) -> float:
    """Where the unit stands in [0, 1): uniform over units, independent between keys, the same for ever.

    The key is hashed apart from the unit (blake2b's own key), so that no two pairs run together.
    """
    keyed = blake2b(key.encode(), digest_size=32).digest()
    return int.from_bytes(blake2b(unit.encode(), key=keyed, digest_size=8).digest(), "big") / _SCALE


def choose(weights: Sequence[float], at: float) -> int:
    """The index whose stretch of the line, in the document's order, holds the place `at` of [0, 1).

    When one variant's weight grows at its right neighbour's cost, only units of that neighbour move, and none moves back.
    """
    mark, total, last = at * sum(weights), 0.0, 0
    for index, weight in enumerate(weights):
        if weight > 0:
            total, last = total + weight, index
            if mark < total:
                return index
    return last  # rounding may leave the mark on the very end
