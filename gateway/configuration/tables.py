"""Makes the routing's values of a checked policy document. Pure: equal documents give equal tables."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping

import msgspec
from msgspec.structs import replace

from gateway.configuration import schema_policy as policy
from gateway.configuration.schema_cache import Cache
from gateway.configuration.schema_costs import Cost
from gateway.configuration.schema_limits import Limit as LimitEntry
from gateway.configuration.schema_limits import LimitMatch, limit_name
from gateway.configuration.tables_cascade import cascade_of
from gateway.configuration.tables_prompts import prompts_of, routers_of
from gateway.configuration.tables_rollouts import rollouts_of
from gateway.configuration.tables_shadows import shadows_of
from routing.budgets import Budget
from routing.cache.caching import Caching
from routing.limits import Allowance, Bound, Limit
from routing.match import Cascade, Match, Route, RouteTable, Split, Use
from routing.plan import Target
from routing.price import MOST_TOKENS, Price
from routing.rollout.units import Holdout

Targets = Mapping[str, Target]


def route_tables(document: policy.PolicyDocument) -> dict[str, RouteTable]:
    """One table for each public model. The document must have passed `check_policy`."""
    held = None if document.holdout is None else Holdout(document.holdout.share, document.holdout.unit)
    tables = {name: _table(name, model, document.backends) for name, model in document.models.items()}
    return {name: replace(table, holdout=held) if held and table.rollouts else table for name, table in tables.items()}


def limits_of(document: policy.PolicyDocument) -> tuple[Limit, ...]:
    """The document's limits, in its order."""
    return tuple(limit_of(limit, index) for index, limit in enumerate(document.limits))


def limit_of(limit: LimitEntry, index: int) -> Limit:
    """One limit. A rate lets as many come at once as it counts, unless its burst says otherwise: 6000 for `6000/m`."""
    match = limit.match or LimitMatch()
    bound = Bound(*(frozenset(words) for words in (match.tenant, match.tier, match.subject, match.scope, match.model)))
    return Limit(limit_name(limit, index), bound, limit.per or "", tuple(_allowances(limit)), tuple(_budgets(limit)))


def _allowances(limit: LimitEntry) -> Iterator[Allowance]:
    if limit.requests is not None:
        burst = limit.burst or math.ceil(limit.requests.units)
        yield Allowance("requests", burst, limit.requests.per_second)
    if limit.concurrency is not None:
        yield Allowance("concurrency", limit.concurrency)
    if limit.bytes is not None:
        yield Allowance("bytes", math.ceil(limit.bytes.units), limit.bytes.per_second)


def _budgets(limit: LimitEntry) -> Iterator[Budget]:
    if limit.cost is not None:
        yield Budget("cost", limit.cost)
    if limit.escalations is not None:
        yield Budget("escalations", limit.escalations)


def match_of(match: policy.Match | None) -> Match:
    """A route's conditions; None asks nothing. Sorted, so that the order in the file makes no difference."""
    if match is None:
        return Match()
    return Match(
        tenants=frozenset(match.tenant),
        tiers=frozenset(match.tier),
        headers=tuple(sorted(match.header.items())),
        rows=match.rows,
        parameters=tuple(sorted(match.parameter.items(), key=lambda item: item[0])),
        scopes=frozenset(match.scope),
        versions=frozenset(match.version),
        size=match.bytes,
        priority=match.priority,
        text_lengths=tuple(sorted(match.text_length.items(), key=lambda item: item[0])),
        prompts=prompts_of(match.prompt),
        parameter_ranges=tuple(sorted(match.parameter_range.items(), key=lambda item: item[0])),
        every=tuple(match_of(part) for part in match.all),
        some=tuple(match_of(part) for part in match.any),
        never=None if match.never is None else match_of(match.never),
    )


def _table(name: str, model: policy.Model, backends: Mapping[str, policy.Backend]) -> RouteTable:
    targets = {
        variant: Target(
            variant,
            each.backend,
            each.model,
            each.version,
            each.cost.row,
            each.timeout,
            _price(each.cost),
            row_independent=each.row_independent,
        )
        for variant, each in model.variants.items()
    }
    return RouteTable(
        model=name,
        routes=tuple(_route(route, targets, model.timeout) for route in model.routes),
        fallback={failed: targets[instead] for failed, instead in model.fallback.items()},
        dearest=max(target.cost for target in targets.values()),
        priced=tuple(targets.values()) if any(target.price for target in targets.values()) else (),
        versions=model.version_policy,
        cache=None if model.cache is None else _caching(model.cache, _epoch(model, backends)),
        shadows=shadows_of(model, targets),
        rollouts=rollouts_of(model, targets),
        routers=routers_of(model),
    )


def _price(cost: Cost) -> Price | None:
    parts = Price(cost.call, cost.gpu_ms, cost.token, cost.tokens or "", cost.most_ms, cost.most_tokens or MOST_TOKENS)
    return None if parts == Price() else parts


def _caching(cache: Cache, epoch: bytes) -> Caching:
    return Caching(
        cache.ttl, epoch, cache.rows, cache.shared, cache.stale_while_revalidate, cache.stale_if_error, cache.tag or ""
    )


def _epoch(model: policy.Model, backends: Mapping[str, policy.Backend]) -> bytes:
    """Stands for all that the document says of the model's answers and of where it is, in every process the same."""
    used = {name: backends[name] for name in {variant.backend for variant in model.variants.values()}}
    places = {name: (backend.protocol, [str(each) for each in backend.endpoints]) for name, backend in used.items()}
    routes = tuple(
        replace(route, cascade=replace(route.cascade, audit=None)) if route.cascade is not None else route
        for route in model.routes
    )
    answering = replace(model, routes=routes, shadows=(), rollouts={})
    return hashlib.sha256(msgspec.json.encode((answering, places), order="sorted")).digest()


def _route(route: policy.Route, targets: Targets, timeout: float) -> Route:
    return Route(route.name, match_of(route.match), _action(route, targets), route.timeout or timeout, route.sample)


def _action(route: policy.Route, targets: Targets) -> Use | Split | Cascade:
    if route.cascade is not None:
        return cascade_of(route.cascade, targets)
    if route.split is not None:
        # By name: moving a line in the file must not move a tenant to another variant.
        shares = tuple((targets[variant], weight) for variant, weight in sorted(route.split.items()))
        return Split(shares, route.unit or policy.DEFAULT_UNIT)
    if route.use is not None:
        return Use(targets[route.use])
    raise ValueError(f"route '{route.name}' was not checked: it has no action")
