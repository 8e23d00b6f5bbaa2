"""The policy document's shadows as frozen values: which questions a candidate is asked too, and what counts as another answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec

from gateway.configuration.problems import UnreadableError, shown
from gateway.configuration.quantities import Rate, read_rate, read_share
from gateway.configuration.readers import Amount, Count, Name, Timeout, Words, read_number
from gateway.configuration.readers_confidence import read_metric, read_path
from routing.shadow.compare_trees import place

MAX_TOP = 100  # places of a ranking


def read_likeness(value: object) -> float:
    """A number from 0 to 1. Raises UnreadableError."""
    number = read_number(value)
    if not 0 <= number <= 1:
        raise UnreadableError(f"{number:g} is out of range: it lies between 0 and 1", f"{number / 100:g}" if number > 1 else None)
    return number


def read_top(value: object) -> int:
    """How many of the largest values. Raises UnreadableError."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_TOP:
        return value
    raise UnreadableError(f"{shown(value)} is not a whole number from 1 to {MAX_TOP}")


def read_place(value: object) -> str:
    """A place in a JSON document: `$.choices[*].score`. Raises UnreadableError."""
    if isinstance(value, str) and place(value) is not None:
        return value
    meant = f"$.{value}" if isinstance(value, str) and place(f"$.{value}") is not None else None
    raise UnreadableError(f"{shown(value)} is not a place in JSON; write it like $.choices[*].score", meant)


Likeness = Annotated[float, read_likeness]


class Compare(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """By how much an output may differ and still be the same. All that is said must hold; a word alone sets that word."""

    WORDS: ClassVar[tuple[str, ...]] = ("exact", "label", "ignore")
    exact: bool = False
    label: bool = False
    ignore: bool = False
    atol: Amount | None = None
    rtol: Amount | None = None
    top: Annotated[int, read_top] | None = None
    overlap: Likeness | None = None
    rbo: Likeness | None = None
    total_variation: Likeness | None = None
    jensen_shannon: Likeness | None = None
    cosine: Likeness | None = None
    similarity: Likeness | None = None
    json: Mapping[Annotated[str, read_place], Compare] | None = None


class Except(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose questions are never mirrored."""

    tenant: Words = ()
    tier: Words = ()


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is written down of both answers, row by row: the label, and how sure the variant was, as in a `confidence`."""

    metric: Annotated[str, read_metric]
    output: str | None = None
    logits: bool = False
    path: Annotated[str, read_path] | None = None
    label: str | None = None


class Shadow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A candidate that is asked a share of the questions beside whoever answers them, and answers nobody."""

    name: Name
    to: Name
    fraction: Annotated[float, read_share]
    of: Name | None = None
    route: Name | None = None
    compare: Mapping[str, Compare] = msgspec.field(default_factory=dict)
    noise: Annotated[float, read_share] = 1.0
    margin: Annotated[float, read_share] = 0.01
    alpha: Annotated[float, read_share] = 0.01
    timeout: Timeout | None = None
    max_in_flight: Count = 8
    queue: Count = 32
    budget: Annotated[Rate, read_rate] | None = None
    payloads: bool = False
    record: Record | None = None
    spared: Except | None = msgspec.field(default=None, name="except")
