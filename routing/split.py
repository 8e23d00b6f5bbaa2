"""Sticky weighted choice: every side bids for every unit by a keyed hash and its weight, and the best bid keeps it for ever.

Weighted rendezvous hashing (Thaler and Ravishankar 1998; the weights by Schindelhauer and Schomaker 2005): a side's bid for a
unit is -ln(h) / weight, where h is the unit's place on that side's own line from 0 to 1; the smallest bid wins. Bids are
exponentially distributed with the weight as their rate, so that each side wins its share. A unit leaves its side only for one
whose weight grew in relation to that side's: with any number of sides, nobody moves between two whose proportion stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from math import inf, log

_SCALE = float(1 << 64)


def key(model: str, route: str) -> str:
    """Of a route's split; a side's own line has it, a slash and the side's name."""
    return f"{model}/{route}"


def bid(at: float, weight: float) -> float:
    """What a side of this weight bids for a unit that stands `at` this place of its line."""
    return -log(at) / weight


def place(key: str, unit: str) -> float:
    """Where the unit stands between 0 and 1: uniform over units, independent between keys, the same for ever; never 0."""
    return _place(_keyed(key), unit)


def line(key: str) -> Callable[[str], float]:
    """`place` of this key, as a function of the unit."""
    keyed = _keyed(key)
    return lambda unit: _place(keyed, unit)


def drawing(key: str, sides: Sequence[tuple[str, float]]) -> Callable[[str], int]:
    """The index of a unit's side, as a function of the unit. `sides`: name and weight, of which one is more than 0.

    Splits of different keys are independent. The order of the sides makes no difference to who gets which.
    """
    lines = [(index, _keyed(f"{key}/{name}"), weight) for index, (name, weight) in enumerate(sides) if weight > 0]

    def draw(unit: str) -> int:
        won, best = lines[0][0], inf
        for index, keyed, weight in lines:
            offered = bid(_place(keyed, unit), weight)
            if offered < best:
                won, best = index, offered
        return won

    return draw


def _keyed(key: str) -> bytes:
    """The key as blake2b's own, which is hashed apart from the unit, so that no two pairs run together."""
    return blake2b(key.encode(), digest_size=32).digest()


def _place(keyed: bytes, unit: str) -> float:
    return (int.from_bytes(blake2b(unit.encode(), key=keyed, digest_size=8).digest(), "big") + 0.5) / _SCALE
