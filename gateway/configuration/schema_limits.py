"""The policy document's limits as frozen values: who may ask how much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec

from gateway.configuration.problems import UnreadableError, listed, nearest, shown
from gateway.configuration.quantities import Rate, read_byte_rate, read_rate
from gateway.configuration.readers import Count, Name, Words
from gateway.configuration.schema_costs import read_sum
from routing.budgets import Sum
from routing.limits import PER

_CLAIMED = (
    "clients choose it and nobody verifies it, so it must not decide who may ask how much; match tenant, tier, subject or scope"
)
_NESTED = "a limit's conditions must all hold; write one limit for each case, since all limits that match hold together"


def read_per(value: object) -> str:
    """What has a bucket of its own. Raises UnreadableError."""
    if isinstance(value, str) and value in PER:
        return value
    if isinstance(value, list):
        raise UnreadableError("a limit has its buckets by one thing; for two write two limits, which hold together")
    raise UnreadableError(f"{shown(value)} is not one of {listed(PER)}", nearest(str(value), PER))


class LimitMatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose requests a limit counts; all that is written must hold. Nothing that a client only claims can stand here."""

    NEVER: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("header", "parameter", "priority", "version", "rows", "bytes", "text_length", "prompt", "parameter_range"), _CLAIMED
        ),
        **dict.fromkeys(("all", "any", "not"), _NESTED),
    }
    tenant: Words = ()
    tier: Words = ()
    subject: Words = ()
    scope: Words = ()
    model: Words = ()


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much may be asked and spent, in at least one of the ways from `requests` on. All limits that match hold together."""

    name: Name | None = None
    match: LimitMatch | None = None
    per: Annotated[str, read_per] | None = None
    requests: Annotated[Rate, read_rate] | None = None
    burst: Count | None = None
    concurrency: Count | None = None
    bytes: Annotated[Rate, read_byte_rate] | None = None
    cost: Annotated[Sum, read_sum] | None = None
    escalations: Annotated[Sum, read_sum] | None = None


def limit_name(limit: Limit, index: int) -> str:
    """Its own, or its place in the list, counted from 1."""
    return limit.name or f"limit-{index + 1}"
