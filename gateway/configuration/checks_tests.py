"""Judges a document's own tests before they are run: do they name what there is, and could they ever fail?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from gateway.configuration import schema_policy as policy
from gateway.configuration.checks_names import check_distinct, check_known
from gateway.configuration.decode import Findings
from gateway.configuration.problems import Path, listed, nearest, shown
from gateway.configuration.schema_limits import limit_name
from gateway.configuration.schema_tests import Expect
from gateway.configuration.tables import match_of
from routing.conditions import Condition, conditions

MAX_STEPS = 1_000_000  # of all tests together: they are run before the document is taken, in 2 s of CPU
SIDE = 10  # steps for a side of a split: where nothing decides the split each side is planned for
REFUSALS = ("forbidden", "invalid", "not-found", "priority", "timeout", "version")  # before anybody is asked; as X-Penstock-Error


def check_tests(found: Findings, document: policy.PolicyDocument) -> None:
    """Notes in `found` tests that name what is not there, that expect nothing, or what cannot be."""
    check_distinct(found, ("tests",), [test.name for test in document.tests], "name")
    names = dict.fromkeys((*found.source.keys(("models",)), *found.source.keys(("aliases",))))
    routes = {name: dict.fromkeys(route.name for route in model.routes) for name, model in document.models.items()}
    limits = [limit_name(limit, index) for index, limit in enumerate(document.limits)]
    unread = ("limits",) in found.spoiled or (not limits and () in found.spoiled)  # the key itself may be mistyped
    for index, test in enumerate(document.tests):
        path, asked = ("tests", index), test.request.model
        if test.expect.refused != "not-found" and ("aliases",) not in found.source.unread:
            check_known(found, (*path, "request", "model"), "model", asked, names)
        _check_expect(found, (*path, "expect"), test.expect)
        for name in () if unread else (test.expect.limits or ()):
            check_known(found, (*path, "expect", "limits"), "limit", name, limits)
        model = asked if asked in routes else document.aliases.get(asked, "")
        if model in routes:
            _check_names(found, (*path, "expect"), test.expect, routes[model], found.source.keys(("models", model, "variants")))
    _check_work(found, document)


def check_without(found: Findings, without: tuple[str, ...]) -> None:
    """Notes in `found` parts that are said to be left out and are there."""
    check_distinct(found, ("without",), list(without))
    there = found.source.keys(())
    for index, part in enumerate(without):
        if part in there:
            line = found.source.mark((part,)).line
            found.wrong(("without", index), f"{shown(part)} is there, on line {line}: one of the two must go")


def _check_work(found: Findings, document: policy.PolicyDocument) -> None:
    asked = Counter(document.aliases.get(test.request.model, test.request.model) for test in document.tests)
    steps = sum(count * _steps(document.models[name].routes) for name, count in asked.items() if name in document.models)
    if steps > MAX_STEPS:
        found.wrong(
            ("tests",),
            f"running these {len(document.tests)} takes {steps:,} steps, and {MAX_STEPS:,} are allowed: each test looks at every"
            f" condition of its model's routes (a step) and every side of a split ({SIDE}); have fewer tests, routes or sides",
        )


def _steps(routes: tuple[policy.Route, ...]) -> int:
    """Of one test; a single route takes it, so a single split."""
    looks = sum(_looks(conditions(match_of(route.match))) for route in routes)
    return looks + SIDE * max(len(route.split or ()) for route in routes)


def _looks(part: tuple[Condition, ...]) -> int:
    return 1 + sum(1 + sum(map(_looks, condition.parts)) for condition in part)


def _check_expect(found: Findings, path: Path, expect: Expect) -> None:
    said = [key for key in ("route", "use", "cascade", "timeout") if getattr(expect, key) not in (None, ())]
    said += ["limits"] if expect.limits is not None else []  # of which none may be expected, too
    if not said and expect.refused is None:
        found.wrong(path, "expects nothing, so it could never fail; name a route, use, cascade, timeout, limits or refused")
    if "use" in said and "cascade" in said:
        found.wrong((*path, "cascade"), "a request is answered by one variant or by a cascade; expect use or cascade")
    if said and expect.refused is not None:
        found.wrong((*path, "refused"), f"a request that is refused has no {listed(said)}")
    if expect.refused is not None and expect.refused not in REFUSALS:
        message = f"{shown(expect.refused)} is not why a request is refused before anybody is asked; that is {listed(REFUSALS)}"
        found.wrong((*path, "refused"), message, nearest(expect.refused, REFUSALS))


def _check_names(found: Findings, path: Path, expect: Expect, routes: Collection[str], variants: Collection[str]) -> None:
    if expect.route is not None:
        check_known(found, (*path, "route"), "route", expect.route, routes)
    if expect.use is not None:
        check_known(found, (*path, "use"), "variant", expect.use, variants)
    for index, stage in enumerate(expect.cascade):
        check_known(found, (*path, "cascade", index), "variant", stage, variants)
