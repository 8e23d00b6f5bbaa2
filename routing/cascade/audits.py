"""What the policy says of auditing a cascade, as a value, and which of its kept rows the dearest stage answers otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from backends.tensors import Tensor, take
from routing.principal import Principal
from routing.shadow.compare import Rule, compare


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


def exempt(audit: Audit, principal: Principal) -> bool:
    """Whether the caller's rows are never audited."""
    return principal.tenant in audit.tenants or principal.tier in audit.tiers


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
    rules = dict(audit.rules)
    if rows is None:
        return int(_apart(one, other, rules))
    if any(tensor.rows != len(rows) for tensor in other) or any((tensor.rows or 0) <= max(rows) for tensor in one):
        return None
    pairs = (
        ([take(tensor, [row]) for tensor in one], [take(tensor, [place]) for tensor in other]) for place, row in enumerate(rows)
    )
    return sum(_apart(first, second, rules) for first, second in pairs)


def _apart(one: Sequence[Tensor], other: Sequence[Tensor], rules: dict[str, Rule]) -> bool:
    return any(found.score > 1 for found in compare(one, other, rules))
