"""The policy document's money as frozen values: what asking a variant costs, and what may be spent."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

import msgspec

from gateway.configuration.problems import UnreadableError, listed, nearest, shown
from gateway.configuration.quantities import read_share
from gateway.configuration.readers import LARGEST_AMOUNT, Amount, Count
from routing.budgets import PERIODS, Sum

_SUM = re.compile(r"(?P<amount>[0-9]{1,18}(?:\.[0-9]{1,18})?) ?/ ?(?P<period>[A-Za-z]+)")
_NEARLY = re.compile(r"(?P<amount>[0-9]{1,18}(?:\.[0-9]{1,18})?)(?: ?(?:/|per|a) ?(?P<period>[A-Za-z]+))?")
_SHORT = {"h": "hour", "hr": "hour", "hours": "hour", "hourly": "hour", "d": "day", "days": "day", "daily": "day"}
_PERIODS_IN_FULL: dict[str, str] = {
    **_SHORT,
    "mo": "month",
    "months": "month",
    "monthly": "month",
    "hour": "hour",
    "day": "day",
    "month": "month",
}


def read_sum(value: object) -> Sum:
    """`1000/day`, `0.5/hour`, `20000/month`. Raises UnreadableError."""
    found = _SUM.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise UnreadableError(f"{shown(value)} is not a sum; write it like 1000/day", _meant(value))
    if found["period"] not in PERIODS:
        message = f"unknown time {shown(found['period'])}; a sum is per {listed(PERIODS)}"
        raise UnreadableError(message, _meant(value))
    amount = float(found["amount"])
    if not amount:
        raise UnreadableError(f"{shown(value)} would refuse everything; whoever may ask nothing should have no scope for it")
    if amount > LARGEST_AMOUNT:
        raise UnreadableError(f"{shown(value)} is more than {LARGEST_AMOUNT:g}")
    return Sum(amount, found["period"])


def _meant(value: object) -> str | None:
    found = _NEARLY.fullmatch(f"{value}") if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    if found is None:
        return None
    period = _PERIODS_IN_FULL.get(nearest((found["period"] or "day").lower(), _PERIODS_IN_FULL) or "")
    return f"{found['amount']}/{period}" if period else None


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What asking a variant costs, in whatever unit the policy's author counts. A number alone is of a row."""

    ALONE: ClassVar[str] = "row"
    row: Amount = 0.0
    call: Amount = 0.0
    gpu_ms: Amount = 0.0
    token: Amount = 0.0
    tokens: str | None = None
    most_ms: Count | None = None
    most_tokens: Count | None = None


class EscalationBudget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many rows a cascade sends up, at most."""

    share: Annotated[float, read_share]


def cost_text(cost: Cost) -> str:
    """In words: `40`, or `2 a call + 1 a row + 0.05 a GPU ms (200 at most)`."""
    parts = {"a call": cost.call, "a row": cost.row, "a GPU ms": cost.gpu_ms, "a token": cost.token}
    most = {"a GPU ms": cost.most_ms, "a token": cost.most_tokens}
    if not any(each for part, each in parts.items() if part != "a row"):
        return f"{cost.row:g}"
    told = {part: f" ({most[part]} at most)" if most.get(part) else "" for part in parts}
    return " + ".join(f"{each:g} {part}{told[part]}" for part, each in parts.items() if each)


def cheaper(one: Cost, other: Cost) -> bool:
    """Whether the one is cheaper whatever is asked: in no part dearer, and in some part cheaper."""
    pairs = [(getattr(one, part), getattr(other, part)) for part in ("call", "row", "gpu_ms", "token")]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
