"""Which limits bind a question, and whose bucket each takes from: by the verified principal and the model, by nothing else."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

import msgspec

from routing.budgets import Budget
from routing.demand import Demand, Kind
from routing.explain import Finding
from routing.principal import Principal

PER = ("tenant", "subject", "tier", "model")
_LONGEST = 64  # characters of a key that are the principal's own words; more become a hash, longer than any of these


class Bound(msgspec.Struct, frozen=True):
    """Whose questions count: of each set that is not empty one word must be the question's."""

    tenants: frozenset[str] = frozenset()
    tiers: frozenset[str] = frozenset()
    subjects: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()


class Allowance(msgspec.Struct, frozen=True):
    """`rate` units a second, `burst` at once; of `concurrency`, `burst` at the same time."""

    kind: Kind
    burst: int
    rate: float = 0.0


class Limit(msgspec.Struct, frozen=True):
    """One limit of the policy. `per` says what has a bucket of its own; "": all whom it binds share one."""

    name: str
    bound: Bound
    per: str
    allowances: tuple[Allowance, ...]
    budgets: tuple[Budget, ...] = ()


def findings(limit: Limit, principal: Principal, model: str) -> tuple[Finding, ...]:
    """Every condition of the limit held against who asks for what; it counts the question if all of them hold."""
    return tuple(_findings(limit.bound, principal, model))


def binds(limit: Limit, principal: Principal, model: str) -> bool:
    """Whether the limit counts the principal's questions to this model."""
    return all(each.holds for each in _findings(limit.bound, principal, model))


def may_bind(limit: Limit, model: str) -> bool:
    """Whether it counts anybody's questions to this model."""
    return not limit.bound.models or model in limit.bound.models


def whose(limit: Limit, principal: Principal, model: str) -> str:
    """The value that has the bucket; who has none (no tenant, no tier) shares that of all who have none."""
    match limit.per:
        case "tenant":
            return principal.tenant
        case "subject":
            return principal.subject
        case "tier":
            return principal.tier
        case "model":
            return model
        case _:
            return ""


def demands(limit: Limit, principal: Principal, model: str) -> tuple[Demand, ...]:
    """What one question of the principal's takes, a demand for each allowance; `bytes` as if there were one byte."""
    key = f"{mark(limit)}:{_short(whose(limit, principal, model))}"
    return tuple(Demand(f"{key}:{each.kind}", each.kind, 1, each.rate, each.burst) for each in limit.allowances)


def accounts(limit: Limit, principal: Principal, model: str) -> tuple[str, ...]:
    """From which accounts a question of the principal's is paid, one for each budget; each has one for every period.

    An account knows nothing of the sum: whoever raises it in the middle of a day does not give back what was spent.
    """
    bound = [sorted(words) for words in msgspec.structs.astuple(limit.bound)]
    said = hashlib.blake2b(msgspec.json.encode((bound, limit.per)), digest_size=8).hexdigest()
    key = f"{said}:{_short(whose(limit, principal, model))}"
    return tuple(f"{key}:{each.kind}:{each.sum.period}" for each in limit.budgets)


def mark(limit: Limit) -> str:
    """Stands for what the limit says, whatever its name and place: while it says the same, a reload changes no bucket."""
    bound = [sorted(words) for words in msgspec.structs.astuple(limit.bound)]
    said = msgspec.json.encode((bound, limit.per, limit.allowances))
    return hashlib.blake2b(said, digest_size=8).hexdigest()


def implied(limit: Limit, by: Limit) -> bool:
    """Whether `limit` refuses nothing that `by` would let pass: that one counts all the same questions, in no more buckets, and
    allows no more of anything.
    """
    words = zip(msgspec.structs.astuple(limit.bound), msgspec.structs.astuple(by.bound), strict=True)
    wider = all(not theirs or (own and own <= theirs) for own, theirs in words)
    tighter = all(any(_tighter(each, own) for each in by.allowances) for own in limit.allowances)
    poorer = all(any(_poorer(each, own) for each in by.budgets) for own in limit.budgets)
    return wider and tighter and poorer and by.per in ("", limit.per)


def window(allowance: Allowance) -> int:
    """Whole seconds, at least 1, in which an empty bucket fills up again; 0 where time fills nothing."""
    return max(1, math.ceil(allowance.burst / allowance.rate)) if allowance.rate else 0


def _poorer(one: Budget, other: Budget) -> bool:
    """Over a shorter period as well: it would have to be less than the other divided by as many, and months differ."""
    return one.kind == other.kind and one.sum.period == other.sum.period and one.sum.amount <= other.sum.amount


def _tighter(one: Allowance, other: Allowance) -> bool:
    return one.kind == other.kind and one.rate <= other.rate and one.burst <= other.burst


def _findings(bound: Bound, principal: Principal, model: str) -> Iterator[Finding]:
    if bound.tenants:
        yield _word("tenant", bound.tenants, principal.tenant)
    if bound.tiers:
        yield _word("tier", bound.tiers, principal.tier)
    if bound.subjects:
        yield _word("subject", bound.subjects, principal.subject)
    if bound.scopes:
        has = " ".join(sorted(principal.scopes)) or None
        yield Finding("scope", _either(bound.scopes), has, not bound.scopes.isdisjoint(principal.scopes))
    if bound.models:
        yield _word("model", bound.models, model)


def _word(key: str, wanted: frozenset[str], found: str) -> Finding:
    return Finding(key, _either(wanted), found or None, found in wanted)


def _either(words: frozenset[str]) -> str:
    return " or ".join(sorted(words))


def _short(word: str) -> str:
    return word if len(word) <= _LONGEST else hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=33).hexdigest()
