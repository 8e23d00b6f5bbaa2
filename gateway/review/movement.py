"""Which share of a split's units changes side when its weights change: exactly, by the law of the draw (routing/split.py).

A side's bid for a unit is E/w, E exponential with rate 1 and the side's own. Old weights w and new ones v see the same E. A unit
goes from i to j if E_i/w_i was the smallest and E_j/v_j is: with x = E_i and y = E_j, every other E_k is at least
max(x w_k/w_i, y v_k/v_j), which has the chance exp(-that), and r = y/x lies between w_j/w_i and v_j/v_i. Integrated over x that
leaves dr / s(r)^2 with s(r) = 1 + r + sum max(w_k/w_i, r v_k/v_j): a line between the kinks of its terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import inf

_FAR = 1e15  # beyond it there is no share that anybody could count


def movement(old: Mapping[str, float], new: Mapping[str, float]) -> dict[tuple[str, str], float]:
    """The share of all units that goes from one side to another, for each pair where any does. A missing side weighs 0."""
    names = list(dict.fromkeys([*old, *new]))
    before, after = ([weights.get(name, 0.0) for name in names] for weights in (old, new))
    found = {
        (names[i], names[j]): _flow(before, after, i, j)
        for i in range(len(names))
        for j in range(len(names))
        if i != j and before[i] > 0 and after[j] > 0
    }
    return {pair: share for pair, share in found.items() if share > 1e-12}


def _flow(old: list[float], new: list[float], i: int, j: int) -> float:
    low, high = old[j] / old[i], new[j] / new[i] if new[i] > 0 else inf
    if low >= high:
        return 0.0
    others = [(old[k] / old[i], new[k] / new[j]) for k in range(len(old)) if k not in (i, j)]
    kinks = sorted({was / now for was, now in others if now > 0 and low < was / now < high})
    marks = [low, *kinks, high]
    return sum(_area(others, begin, end) for begin, end in pairwise(marks))


def _area(others: list[tuple[float, float]], begin: float, end: float) -> float:
    """The integral of 1/s^2 over a stretch without a kink."""
    endless = end > _FAR
    inside = begin + 1 if endless else (begin + end) / 2
    flat = 1 + sum(was for was, now in others if was >= now * inside)
    slope = 1 + sum(now for was, now in others if was < now * inside)
    if endless:
        return 1 / (slope * (flat + slope * begin))
    return (end - begin) / ((flat + slope * begin) * (flat + slope * end))
