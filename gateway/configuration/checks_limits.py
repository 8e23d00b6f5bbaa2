"""Judges a document's limits: does each bind somebody, allow something, and ever decide anything?"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gateway.configuration.decode import Findings
from gateway.configuration.problems import Path, listed, nearest, shown
from gateway.configuration.schema_limits import Limit, limit_name
from gateway.configuration.tables import limit_of
from routing.limits import implied

KINDS = ("requests", "concurrency", "bytes", "cost", "escalations")
MAX_LIMITS = 256  # each is held against every other here, and against every principal that comes


def check_limits(found: Findings, limits: tuple[Limit, ...], models: Collection[str], aliases: Mapping[str, str]) -> None:
    """Notes in `found` limits that allow nothing or everything, that name models which are not there, and that never decide."""
    if len(limits) > MAX_LIMITS:
        message = f"{len(limits)} limits are too many: there may be {MAX_LIMITS}; one `per: tenant` has a bucket for each"
        found.wrong(("limits",), message)
        return
    first: dict[str, int] = {}
    for index, limit in enumerate(limits):
        path, name = ("limits", index), limit_name(limit, index)
        if first.setdefault(name, index) != index:
            line = found.source.mark(("limits", first[name])).line
            found.wrong((*path, "name"), f"{shown(name)} is already the name of the limit on line {line}")
        if all(getattr(limit, kind) is None for kind in KINDS):
            found.wrong(path, f"allows everything: it has none of {listed(KINDS)}")
        if limit.burst is not None and limit.requests is None:
            found.wrong(
                (*path, "burst"), "a burst is of requests, and this limit has none: give it a rate, such as requests: 100/s"
            )
        _check_models(found, path, limit, models, aliases)
    _check_order(found, limits)


def _check_models(found: Findings, path: Path, limit: Limit, models: Collection[str], aliases: Mapping[str, str]) -> None:
    for name in limit.match.model if limit.match else ():
        if name in models:
            continue
        known = aliases.get(name) or nearest(name, models)
        what = "is an alias; limits know the model" if name in aliases else "is no model, so it can never match"
        found.wrong((*path, "match", "model"), f"{shown(name)} {what}", known)


def _check_order(found: Findings, limits: tuple[Limit, ...]) -> None:
    """A limit of which a part could not be read says nothing of others: whom it binds and what it allows is unknown."""
    values = [limit_of(limit, index) for index, limit in enumerate(limits)]
    for index, value in enumerate(values):
        for other, by in enumerate(values):
            if other == index or ("limits", other) in found.spoiled:
                continue
            same = implied(by, value)  # then the later of the two says nothing
            if not (value.allowances or value.budgets) or not implied(value, by) or (same and other > index):
                continue
            line = found.source.mark(("limits", other)).line
            name = f"limit {shown(value.name)} never decides"
            found.wrong(("limits", index), f"{name}: {shown(by.name)} (line {line}) allows no more to all that this one counts")
            break
