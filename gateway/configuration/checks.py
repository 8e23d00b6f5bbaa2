"""Judges a policy document that could be read: does everything it names exist, and can everything it says ever happen?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from gateway.configuration import schema_policy as policy
from gateway.configuration.checks_cache import check_cache
from gateway.configuration.checks_cascade import check_cascade
from gateway.configuration.checks_costs import check_budgets, check_costs
from gateway.configuration.checks_experiments import check_experiments
from gateway.configuration.checks_limits import check_limits
from gateway.configuration.checks_names import check_distinct, check_known
from gateway.configuration.checks_order import check_order
from gateway.configuration.checks_prompts import check_prompts
from gateway.configuration.checks_rollouts import check_rollouts
from gateway.configuration.checks_shadows import check_shadows
from gateway.configuration.checks_tests import check_tests, check_without
from gateway.configuration.checks_versions import check_match, check_versions
from gateway.configuration.decode import Findings
from gateway.configuration.problems import Path, shown

MAX_SIDES = 100  # of a split: every request that comes to it draws for each of them, which takes 2 µs
MAX_FALLBACKS = 100  # of a variant: each plan that may ask it holds them all


def check_policy(found: Findings, document: policy.PolicyDocument) -> None:
    """Notes in `found` whatever makes no sense."""
    for name, backend in document.backends.items():
        check_distinct(found, ("backends", name, "endpoints"), [str(each) for each in backend.endpoints])
    backends = dict.fromkeys(found.source.keys(("backends",)))
    for name, model in document.models.items():
        _check_model(found, ("models", name), model, backends)
    _check_aliases(found, document.aliases)
    check_limits(found, document.limits, dict.fromkeys(found.source.keys(("models",))), document.aliases)
    check_budgets(found, document)
    check_tests(found, document)
    check_experiments(found, document)
    check_without(found, document.without)


def _check_model(found: Findings, path: Path, model: policy.Model, backends: Collection[str]) -> None:
    for name, variant in model.variants.items():
        check_known(found, (*path, "variants", name, "backend"), "backend", variant.backend, backends)
    askable = check_versions(found, path, model)
    known, routes = dict.fromkeys(found.source.keys((*path, "variants"))), (*path, "routes")
    check_distinct(found, routes, [route.name for route in model.routes], "name")
    for index, route in enumerate(model.routes):
        _check_route(found, (*routes, index), route, known)
        if route.cascade is not None:
            check_cascade(found, (*routes, index, "cascade"), route.cascade, model.variants, (*path, "variants"))
        if route.match is not None:
            check_match(found, (*routes, index, "match"), route.match, askable)
    _check_timeouts(found, path, model)
    check_order(found, routes, model.routes)
    _check_fallback(found, (*path, "fallback"), model.fallback, known)
    check_prompts(found, path, model)
    check_cache(found, path, model)
    check_costs(found, path, model)
    check_shadows(found, path, model)
    check_rollouts(found, path, model)


def _check_route(found: Findings, path: Path, route: policy.Route, known: Collection[str]) -> None:
    actions = [name for name in ("use", "split", "cascade") if getattr(route, name) is not None]
    if len(actions) != 1:
        says = " and ".join(actions) if actions else "none of them"
        found.wrong(path, f"route {shown(route.name)} needs exactly one of use, split and cascade; it has {says}")
    if route.unit is not None and route.split is None and path not in found.spoiled:
        found.wrong((*path, "unit"), "a unit decides who gets which side of a split; this route has no split")
    for place, name in _asked(path, route):
        check_known(found, place, "variant", name, known)
    if route.split is not None and len(route.split) > MAX_SIDES:
        found.wrong((*path, "split"), f"{len(route.split)} sides are too many: a split has at most {MAX_SIDES}")
    if route.split is not None and not sum(route.split.values()) > 0:
        found.wrong((*path, "split"), "the weights sum to nothing, so nobody would be asked")


def _asked(path: Path, route: policy.Route) -> Iterator[tuple[Path, str]]:
    """Every variant that the route names, and where."""
    if route.use is not None:
        yield (*path, "use"), route.use
    for name in route.split or ():
        yield (*path, "split", name), name
    for index, stage in enumerate(route.cascade.stages if route.cascade else ()):
        yield (*path, "cascade", "stages", index, "use"), stage.use


def _check_timeouts(found: Findings, path: Path, model: policy.Model) -> None:
    """A variant's own timeout that is longer than that of a route which asks it could never run out there."""
    shortest: dict[str, tuple[float, int]] = {}  # by variant: of the routes that ask it, and where that route stands
    for index, route in enumerate(model.routes):
        own = (*path, "routes", index, "timeout") if route.timeout is not None else (*path, "timeout")
        if own in found.spoiled or (*path, "routes", index, "timeout") in found.spoiled:
            continue  # how long it is nobody knows
        for _, name in _asked((), route):
            shortest[name] = min(
                shortest.get(name, (route.timeout or model.timeout, index)), (route.timeout or model.timeout, index)
            )
    for name, (seconds, index) in shortest.items():
        variant = model.variants.get(name)
        if variant is not None and variant.timeout is not None and variant.timeout > seconds:
            route, line = model.routes[index], found.source.mark((*path, "routes", index)).line
            message = (
                f"{variant.timeout:g} s is more than the {seconds:g} s that route {shown(route.name)} (line {line}) has in all"
            )
            found.wrong((*path, "variants", name, "timeout"), message)


def _check_aliases(found: Findings, aliases: Mapping[str, str]) -> None:
    models = dict.fromkeys(found.source.keys(("models",)))
    for alias, name in aliases.items():
        path = ("aliases", alias)
        if alias in models:
            found.wrong(path, f"{shown(alias)} is a model's own name, so the alias would never be looked at")
        elif name in aliases and name not in models:
            found.wrong(
                path, f"{shown(name)} is an alias itself; name the model", aliases[name] if aliases[name] in models else None
            )
        else:
            check_known(found, path, "model", name, models)


def _check_fallback(found: Findings, path: Path, fallback: Mapping[str, str], known: Collection[str]) -> None:
    for failed, instead in fallback.items():
        for name in {failed: None, instead: None}:
            check_known(found, (*path, failed), "variant", name, known)
    followed: dict[str, int] = {}  # from here on nothing new is found; how many stand in for it
    for failed in fallback:
        chain: dict[str, None] = {}
        following: str | None = failed
        while following is not None and following not in chain and following not in followed:
            chain[following] = None
            following = fallback.get(following)
        if following in chain:
            circle = list(chain)[list(chain).index(str(following)) :]
            _note_circle(found, path, circle)
            followed.update(dict.fromkeys(chain, 0))
            continue
        rest = -1 if following is None else followed[following]
        followed.update({name: rest + place for place, name in enumerate(reversed(chain), start=1)})
    longest = max(followed, key=lambda name: followed[name], default="")
    if followed and followed[longest] > MAX_FALLBACKS:
        many = f"{shown(longest)} falls back on {followed[longest]} variants, one after another"
        found.wrong((*path, longest), f"{many}; at most {MAX_FALLBACKS} are allowed")


def _note_circle(found: Findings, path: Path, circle: list[str]) -> None:
    names = [shown(each) for each in (*circle, circle[0])]
    said = names if len(names) <= 10 else [*names[:8], "…", names[-1]]
    found.wrong((*path, circle[0]), f"the fallback goes round in a circle: {' → '.join(said)}")
