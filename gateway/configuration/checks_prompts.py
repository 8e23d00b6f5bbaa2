"""Judges a model's prompt routers and the scores that its routes ask for: is each there and used, can each score be?"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.configuration import schema_policy as policy
from gateway.configuration.checks_names import check_known
from gateway.configuration.decode import Findings
from gateway.configuration.problems import Path, shown
from gateway.configuration.schema_prompts import Scored

MOST_ROUTERS = 4  # of a model: each that a route looks at scores every request's texts


def check_prompts(found: Findings, path: Path, model: policy.Model) -> None:
    """Notes in `found` routers that are not there or that no route looks at, and scores that say nothing or cannot be."""
    known, used = found.source.keys((*path, "routers")), set[str]()
    for index, route in enumerate(model.routes):
        for place, name, scored in prompts((*path, "routes", index, "match"), route.match):
            used.add(name)
            check_known(found, place, "router", name, known)
            _check_scored(found, place, scored)
    if (*path, "routes") not in found.spoiled:
        for name in model.routers:
            if name not in used:
                found.wrong((*path, "routers", name), f"no route's match has a prompt with {shown(name)}; leave it out")
    if len(model.routers) > MOST_ROUTERS:
        many = f"{len(model.routers)} routers are too many: each scores every request, and a model has at most {MOST_ROUTERS}"
        found.wrong((*path, "routers"), many)


def prompts(path: Path, match: policy.Match | None) -> Iterator[tuple[Path, str, Scored]]:
    """Every router that the conditions look at, nested ones included: where, its name, and which scores."""
    if match is None:
        return
    for name, scored in match.prompt.items():
        yield (*path, "prompt", name), name, scored
    for key, parts in (("all", match.all), ("any", match.any)):
        for index, part in enumerate(parts):
            yield from prompts((*path, key, index), part)
    yield from prompts((*path, "not"), match.never)


def _check_scored(found: Findings, path: Path, scored: Scored) -> None:
    low, high = scored.at_least, scored.below
    if low is None and high is None:
        found.wrong(path, "says nothing of the score: write at_least, below, or both")
    elif high is not None and high <= (low or 0.0):
        low_text = f"at least {low:g} and " if low else ""
        found.wrong(path, f"no score is {low_text}below {high:g}")
