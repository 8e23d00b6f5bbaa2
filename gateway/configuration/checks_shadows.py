"""Judges a model's shadows: is there something to mirror, may it be asked again, can the comparison say anything?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gateway.configuration import schema_policy as policy
from gateway.configuration.checks_confidence import check_confidence
from gateway.configuration.checks_names import check_distinct, check_known
from gateway.configuration.decode import Findings
from gateway.configuration.problems import Path, listed, shown
from gateway.configuration.schema_cascade import Confidence
from gateway.configuration.schema_shadows import Compare, Shadow

_ROWS = ("overlap", "rbo", "total_variation", "jensen_shannon", "cosine")


def check_shadows(found: Findings, path: Path, model: policy.Model) -> None:
    """Notes in `found` shadows that mirror nothing or ask what must not be asked twice, and rules that say nothing."""
    known = dict.fromkeys(found.source.keys((*path, "variants")))
    routes = {route.name: route for route in model.routes}
    check_distinct(found, (*path, "shadows"), [shadow.name for shadow in model.shadows], "name")
    for index, shadow in enumerate(model.shadows):
        here = (*path, "shadows", index)
        check_known(found, (*here, "to"), "variant", shadow.to, known)
        if shadow.of is not None:
            check_known(found, (*here, "of"), "variant", shadow.of, known)
        if shadow.route is not None:
            check_known(found, (*here, "route"), "route", shadow.route, routes)
        if shadow.of is None and shadow.route is None:
            found.wrong(here, "mirrors nothing: name the variant whose questions are mirrored (of), or a route")
        elif _readable(shadow, known, routes):
            _check_asked(found, here, shadow, model)
        _check_shares(found, here, shadow)
        if shadow.record is not None:
            _check_record(found, (*here, "record"), shadow, model)
        for output, rule in shadow.compare.items():
            check_rule(found, (*here, "compare", output), rule)


def _readable(shadow: Shadow, known: Mapping[str, object], routes: Mapping[str, object]) -> bool:
    return {shadow.to, shadow.of or shadow.to} <= known.keys() and (shadow.route is None or shadow.route in routes)


def _check_asked(found: Findings, path: Path, shadow: Shadow, model: policy.Model) -> None:
    """Somebody else is asked, somewhere, and whoever is may be asked again."""
    if shadow.of == shadow.to:
        found.wrong((*path, "to"), f"{shown(shadow.to)} is the original itself: it would be held against its own answers")
        return
    here = path[:-2]  # the model
    if (*here, "routes") in found.spoiled:
        return  # who asks whom nobody knows
    routes = [route for route in model.routes if shadow.route in (None, route.name)]
    if shadow.of is not None:
        routes = [route for route in routes if shadow.of in _asked(route)]
        if not routes:
            where = "no route asks" if shadow.route is None else f"route {shown(shadow.route)} does not ask"
            found.wrong((*path, "of"), f"mirrors nothing: {where} {shown(shadow.of)}")
    elif any(set(_asked(route)) == {shadow.to} for route in routes):
        found.wrong(
            (*path, "to"), f"{shown(shadow.to)} is all that route {shown(str(shadow.route))} asks: nobody else would answer"
        )
    again = {shadow.to: None, **dict.fromkeys(name for route in routes for name in _again(route, shadow))}
    told = {name: each.pure for name, each in model.variants.items() if (*here, "variants", name) not in found.spoiled}
    impure = [shown(name) for name in again if not told.get(name, True)]
    if impure:
        found.wrong(
            path,
            f"{listed(impure)} would be asked more than once about one question, which is harmless only where asking changes"
            " nothing; where that is so, write pure: true at the variant",
        )


def _asked(route: policy.Route) -> Iterator[str]:
    if route.use is not None:
        yield route.use
    yield from (name for name, weight in (route.split or {}).items() if weight > 0)
    yield from (stage.use for stage in (route.cascade.stages if route.cascade else ()))


def _again(route: policy.Route, shadow: Shadow) -> Iterator[str]:
    """Whom a mirror of the route's questions asks: of a split only the shadow's side, of a cascade every stage."""
    if route.split is not None and shadow.of is not None:
        yield shadow.of
    else:
        yield from _asked(route)


def _check_record(found: Findings, path: Path, shadow: Shadow, model: policy.Model) -> None:
    """Both sides are one variant each: of a cascade nobody knows what the first stage said of the rows that went up."""
    record = shadow.record
    if record is None:
        return
    check_confidence(found, path, Confidence(record.metric, record.output, record.logits, record.path))
    if (*path[:-3], "routes") in found.spoiled:
        return
    met = [route for route in model.routes if shadow.route in (None, route.name) and shadow.of in (None, *_asked(route))]
    cascades = [shown(route.name) for route in met if route.cascade is not None]
    if cascades and len(cascades) == len(met):
        found.wrong(
            path,
            f"records nothing: route {listed(cascades)} is a cascade, and only where one variant answers is it known"
            " how sure that one was of every row",
        )


def _check_shares(found: Findings, path: Path, shadow: Shadow) -> None:
    if not shadow.fraction:
        found.wrong((*path, "fraction"), "mirrors nothing: 0 % of the questions")
    if not shadow.noise:
        message = "without a second answer of the primary nobody can tell a difference from its own noise"
        found.wrong((*path, "noise"), message, "100%")
    if not shadow.margin:
        found.wrong((*path, "margin"), "that two models never differ at all no number of questions can show", "1%")
    if not 0 < shadow.alpha <= 0.2:
        found.wrong((*path, "alpha"), "the chance of a wrong verdict lies above 0% and at most at 20%", "1%")


def check_rule(found: Findings, path: Path, rule: Compare, within: bool = False) -> None:
    """`within` a JSON document, where only leaves are compared."""
    said = [name for name in Compare.__struct_fields__ if getattr(rule, name) not in (None, False)]
    for alone in ("exact", "ignore", "json"):
        if alone in said and len(said) > 1:
            rest = listed([name for name in said if name != alone])
            found.wrong(path, f"{rest} would never be looked at beside {alone}")
            return
    if not said:
        found.wrong(path, "says nothing: without a rule an output has its datatype's own tolerance; leave it out")
    if "top" in said and not {"overlap", "rbo"} & set(said):
        found.wrong((*path, "top"), "is how deep overlap and rbo look, and neither is there")
    if "similarity" in said and len(said) > 1:
        found.wrong(
            (*path, "similarity"), f"is of texts, and {listed([name for name in said if name != 'similarity'])} of numbers"
        )
    if within:
        for name in (*_ROWS, "top", "label", "json"):
            if name in said:
                found.wrong((*path, name), "has no meaning within a JSON document: there are only numbers and texts")
    for at, inner in (rule.json or {}).items():
        check_rule(found, (*path, "json", at), inner, within=True)
