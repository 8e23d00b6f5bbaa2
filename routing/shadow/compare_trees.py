"""How far two texts, or two JSON documents, are from each other; documents by rules for the places in them.

A place is written `$.choices[*].score`: keys, places in a list, and `*` for any of either. A rule holds for all below its place.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

Place = tuple[str, ...]
MAX_NODES = 10_000  # of a document that are looked at
MAX_TEXT = 20_000  # characters of a text that are looked at
_STEP = re.compile(r"\.([A-Za-z0-9_-]+|\*)|\[([0-9]{1,6}|\*)\]")


def place(text: str) -> Place | None:
    """`$.a[*].b` taken apart; None if it is not written so."""
    if not text.startswith("$"):
        return None
    found, at = list[str](), 1
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            return None
        found.append(step[1] or step[2])
        at = step.end()
    return tuple(found)


def similarity(one: str, other: str) -> float:
    """0 to 1: the share of three-letter pieces that both have (Dice's coefficient), in a time that grows with the length only."""
    if one == other:
        return 1.0
    first, second = (_pieces(text[:MAX_TEXT]) for text in (one, other))
    return 2 * (first & second).total() / (first.total() + second.total())


def parsed(value: bytes) -> Any:
    """A JSON document. Raises ValueError; RecursionError is one here."""
    try:
        return json.loads(value)
    except RecursionError as error:
        raise ValueError("too deep") from error


def differences(one: Any, other: Any, places: Sequence[Place]) -> Iterator[tuple[Place | None, Any, Any]]:
    """Every pair of leaves that are not equal, with the longest of the `places` that they are below; None below none.

    Where one has a key or an entry that the other lacks, its value stands against MISSING.
    """
    waiting: list[tuple[Place, Any, Any]] = [((), one, other)]
    for _ in range(MAX_NODES):
        if not waiting:
            return
        here, first, second = waiting.pop()
        if isinstance(first, dict) and isinstance(second, dict):
            names = first.keys() | second.keys()
            waiting += [((*here, name), first.get(name, MISSING), second.get(name, MISSING)) for name in names]
        elif isinstance(first, list) and isinstance(second, list):
            pairs = enumerate(zip_longest(first, second, fillvalue=MISSING))
            waiting += [((*here, str(at)), *pair) for at, pair in pairs]
        elif first != second or isinstance(first, bool) is not isinstance(second, bool):
            yield _rule(here, places), first, second
    if waiting:
        yield None, "too large to be compared", MISSING


def distance(one: Any, other: Any) -> float:
    """Of two numbers; infinite for anything else, as unequal values are."""
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (one, other))
    try:
        return abs(float(one) - float(other)) if numbers else math.inf
    except OverflowError:
        return math.inf


def _rule(here: Place, places: Sequence[Place]) -> Place | None:
    found = [each for each in places if len(each) <= len(here) and all(a in ("*", b) for a, b in zip(each, here, strict=False))]
    return max(found, key=lambda each: (len(each), sum(step != "*" for step in each)), default=None)


def _pieces(text: str) -> Counter[str]:
    padded = f"  {text} "
    return Counter(padded[at : at + 3] for at in range(len(padded) - 2))


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING = _Missing()
