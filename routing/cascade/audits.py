"""What the policy says of auditing a cascade, as a value, and which of its kept rows the dearest stage answers otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from backends.tensors import BYTES, Tensor, row_parts, take
from routing.shadow.compare import FLOATS, Rule, compare


class Audit(msgspec.Struct, frozen=True, gc=False):
    """A share of the rows that were sure is asked of the dearest stage as well. Shares are 0 to 1, `timeout` in seconds.

    Promised is that at most `most` of the kept rows are answered otherwise. `rules`: the outputs that are looked at, each with
    what still is the same. `falls`: after an alarm the dearest stage answers alone. `budget`: cost at once, and cost a second.
    `epoch` stands for all that decides what is kept and what is different: what was seen under another does not count here.
    """

    share: float
    most: float = 0.01
    falls: bool = False
    rules: tuple[tuple[str, Rule], ...] = ()
    timeout: float | None = None  # None: as long as the route's answer
    in_flight: int = 8
    queue: int = 32
    budget: tuple[float, float] | None = None
    tenants: frozenset[str] = frozenset()  # whose rows are never audited
    tiers: frozenset[str] = frozenset()
    epoch: str = ""


def looked_at(audit: Audit, outputs: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
    """Those of the outputs that are compared; None where one is missing."""
    found = {tensor.name: tensor for tensor in outputs}
    return tuple(found[name] for name, _ in audit.rules) if all(name in found for name, _ in audit.rules) else None


def differing(audit: Audit, kept: Sequence[Tensor], dear: Sequence[Tensor], rows: Sequence[int] | None) -> int | None:
    """How many of the rows are different: `rows` of `kept` are held against all of `dear`, in order; None as rows: the whole.

    None if the dearest stage's answer cannot be held against them: an output is missing, or is not of as many rows.
    """
    one, other = looked_at(audit, kept), looked_at(audit, dear)
    if one is None or other is None:
        return None
    if rows is None:
        return int(any(found.score > 1 for found in compare(one, other, dict(audit.rules))))
    if any(tensor.rows != len(rows) for tensor in other) or any((tensor.rows or 0) <= max(rows) for tensor in one):
        return None
    apart = np.zeros(len(rows), np.bool_)
    for first, second, (_, rule) in zip(one, other, audit.rules, strict=True):
        apart |= _apart(take(first, rows), second, rule)
    return int(apart.sum())


def _apart(one: Tensor, other: Tensor, rule: Rule) -> npt.NDArray[np.bool_]:
    """By row, whether it is another. What is usual is done for all rows at once: a comparison by any rule takes 70 µs a row."""
    count = other.shape[0]
    if one.datatype != other.datatype or one.shape != other.shape:
        return np.ones(count, np.bool_)
    if rule == _LARGEST and one.datatype not in (BYTES, "BF16") and one.shape[-1] > 1:
        return np.asarray((one.array().argmax(-1) != other.array().argmax(-1)).reshape(count, -1).any(-1))
    if rule == _EXACT and one.datatype not in FLOATS:
        return np.array([first != second for first, second in zip(row_parts(one), row_parts(other), strict=True)], np.bool_)
    pairs = ((take(one, [row]), take(other, [row])) for row in range(count))
    rules = {one.name: rule}
    return np.array([any(found.score > 1 for found in compare([a], [b], rules)) for a, b in pairs], np.bool_)


_LARGEST, _EXACT = Rule(label=True), Rule(exact=True)
