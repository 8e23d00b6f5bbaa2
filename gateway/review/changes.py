"""What differs between two policy documents, in words: not lines that were moved about, but what they do to requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec

from gateway.configuration.problems import path_text, shown
from gateway.configuration.schema_cache import Cache
from gateway.configuration.schema_costs import cost_text
from gateway.configuration.schema_policy import Backend, Breaker, Health, Hedge, Model, PolicyDocument, Retry, Variant
from gateway.configuration.schema_prompts import Router
from gateway.review.changes_rollouts import holdout_changes, rollout_changes
from gateway.review.changes_routes import Change, route_changes
from gateway.review.changes_shadows import shadow_changes
from gateway.review.limits import limit_changes
from gateway.review.words import duration, had, share
from routing.match import Versions

T = TypeVar("T")


def changes(old: PolicyDocument, new: PolicyDocument) -> tuple[Change, ...]:
    """In the order of a document: backends, models with what is in them, aliases, limits, tests. Empty if both do the same."""
    return tuple(_changes(old, new))


def _changes(old: PolicyDocument, new: PolicyDocument) -> Iterator[Change]:
    yield from _named(("backends",), old.backends, new.backends, Names("backend", _backend, _backend_changes))
    yield from _named(("models",), old.models, new.models, Names("model", _model, _model_changes))
    yield from _words(("aliases",), old.aliases, new.aliases, "alias", "of")
    yield from limit_changes(old.limits, new.limits)
    yield from holdout_changes(old, new)
    yield from _tests(old, new)
    if set(old.without) != set(new.without):
        yield Change("without", f"{_list(old.without)} → {_list(new.without)}: parts that the document does without on purpose")


class Names(NamedTuple):
    """How one kind of named thing is told: what it is, one in words, the changes of one."""

    what: str
    told: Callable[[Any], str]
    changed: Callable[[tuple[str | int, ...], Any, Any], Iterator[Change]]


def _named(path: tuple[str | int, ...], old: Mapping[str, T], new: Mapping[str, T], names: Names) -> Iterator[Change]:
    for name in dict.fromkeys([*old, *new]):
        here = (*path, name)
        if name not in new:
            yield Change(path_text(here), f"{names.what} {shown(name)} goes")
        elif name not in old:
            yield Change(path_text(here), f"{names.what} {shown(name)} is new: {names.told(new[name])}")
        else:
            yield from names.changed(here, old[name], new[name])


def _words(path: tuple[str, ...], old: Mapping[str, str], new: Mapping[str, str], what: str, verb: str) -> Iterator[Change]:
    for name in dict.fromkeys([*old, *new]):
        was, now, here = old.get(name), new.get(name), path_text((*path, name))
        if was is None:
            yield Change(here, f"{what} {shown(name)} is new: {verb} {now}")
        elif now is None:
            yield Change(here, f"{what} {shown(name)} goes: it was {verb} {was}")
        elif was != now:
            yield Change(here, f"{what} {shown(name)} is {verb} {now}, no longer {verb} {was}")


def _backend(backend: Backend) -> str:
    return f"{backend.protocol} at {_list(map(str, backend.endpoints))}"


def _backend_changes(path: tuple[str | int, ...], old: Backend, new: Backend) -> Iterator[Change]:
    added = [each for each in new.endpoints if each not in old.endpoints]
    gone = [each for each in old.endpoints if each not in new.endpoints]
    if added:
        yield Change(path_text((*path, "endpoints")), f"{_list(map(str, added))} comes in")
    if gone:
        yield Change(path_text((*path, "endpoints")), f"{_list(map(str, gone))} goes")
    shows = {"protocol": str, "balance": str, "max_in_flight": str}
    yield from _fields(path, old, new, {**shows, "retry": _retry, "hedge": _hedge, "breaker": _breaker, "health": _health})


def _retry(retry: Retry | None) -> str:
    return "none" if retry is None else f"{retry.attempts} attempts, budget {share(retry.budget)}"


def _hedge(hedge: Hedge | None) -> str:
    return "none" if hedge is None else f"after p{100 * hedge.after:.0f}, budget {share(hedge.budget)}"


def _breaker(breaker: Breaker) -> str:
    return f"{breaker.failures} failures, open {duration(breaker.open)}"


def _health(health: Health) -> str:
    return f"every {duration(health.interval)}, timeout {duration(health.timeout)}"


def _variant(variant: Variant) -> str:
    version = f" version {variant.version}" if variant.version else ""
    return f"{variant.model}{version} at {variant.backend}, cost {cost_text(variant.cost)}"


def _variant_changes(path: tuple[str | int, ...], old: Variant, new: Variant) -> Iterator[Change]:
    shows = {
        "backend": str,
        "model": str,
        "version": _version,
        "cost": cost_text,
        "timeout": _timeout,
        "deterministic": had,
        "row_independent": had,
        "pure": had,
    }
    yield from _fields(path, old, new, shows)


def _model(model: Model) -> str:
    routes = [route.name for route in model.routes]
    return f"variants {_list(model.variants)}; routes {_list(routes)}"


def _model_changes(path: tuple[str | int, ...], old: Model, new: Model) -> Iterator[Change]:
    yield from _fields(path, old, new, {"timeout": duration, "version_policy": _versions, "cache": _cache})
    yield from _named((*path, "variants"), old.variants, new.variants, Names("variant", _variant, _variant_changes))
    yield from route_changes(path, old, new)
    for variant in dict.fromkeys([*old.fallback, *new.fallback]):
        was, now = old.fallback.get(variant), new.fallback.get(variant)
        if was != now:
            instead = f"{now} stands in when {variant} fails" if now else f"nobody stands in when {variant} fails any more"
            yield Change(path_text((*path, "fallback", variant)), instead + (f"; it was {was}" if was else ""))
    yield from shadow_changes(path, old, new)
    yield from rollout_changes(path, old, new)
    yield from _named((*path, "routers"), old.routers, new.routers, Names("prompt router", _router, _router_changes))


def _router(router: Router) -> str:
    return f"{router.file} ({router.sha256[:12]}) reads {router.input}"


def _router_changes(path: tuple[str | int, ...], old: Router, new: Router) -> Iterator[Change]:
    if old.sha256 != new.sha256:
        what = f"{_router(old)} → {_router(new)}: every prompt is scored anew, and thresholds mean other shares"
        yield Change(path_text((*path, "sha256")), what)
    else:
        yield from _fields(path, old, new, {"input": str})


def _tests(old: PolicyDocument, new: PolicyDocument) -> Iterator[Change]:
    was, now = ({test.name: test for test in document.tests} for document in (old, new))
    for name in dict.fromkeys([*was, *now]):
        if name not in now:
            yield Change("tests", f"test {shown(name)} goes")
        elif name not in was:
            yield Change("tests", f"test {shown(name)} is new")
        elif was[name] != now[name]:
            yield Change("tests", f"test {shown(name)} asks or expects something else")


def _fields(path: tuple[str | int, ...], old: msgspec.Struct, new: msgspec.Struct, shows: Mapping[str, Any]) -> Iterator[Change]:
    for name, show in shows.items():
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            yield Change(path_text((*path, name)), f"{show(was)} → {show(now)}")


def _version(version: str) -> str:
    return version or "the backend's choice"


def _timeout(seconds: float | None) -> str:
    return "none" if seconds is None else duration(seconds)


def _versions(versions: Versions) -> str:
    if versions.latest is not None:
        return f"latest({versions.latest})"
    return f"specific({', '.join(sorted(versions.named))})" if versions.named else "all"


def _cache(cache: Cache | None) -> str:
    if cache is None:
        return "none"
    stale = {"stale while revalidate": cache.stale_while_revalidate, "stale if error": cache.stale_if_error}
    words = [name for name in ("rows", "shared", "force") if getattr(cache, name)]
    words += [f"{name} {duration(seconds)}" for name, seconds in stale.items() if seconds]
    return ", ".join([f"ttl {duration(cache.ttl)}", *words, *([f"tag {cache.tag}"] if cache.tag else [])])


def _list(words: Any) -> str:
    return ", ".join(words) or "nothing"
