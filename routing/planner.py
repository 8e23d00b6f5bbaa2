"""Makes the plan of a question: the same function serves live traffic, `penstock policy explain` and the policy's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError, invalid
from routing.conditions import Predicate, predicates
from routing.match import Cascade, Question, Route, RouteTable, Split, Use
from routing.plan import Confidence, Mirror, Plan, Stage, Target
from routing.split import drawing, key

Planner = Callable[[Question], Plan]


def planner(table: RouteTable) -> Planner:
    """The table as one function. Every plan that does not depend on the question is built here, once."""
    rules: tuple[tuple[tuple[Predicate, ...], Planner], ...] = tuple(
        (predicates(route.match), _action(table, route)) for route in table.routes
    )

    def plan(question: Question) -> Plan:
        for conditions, act in rules:
            for holds in conditions:
                if not holds(question):
                    break
            else:
                made = act(question)
                return _pinned(made, question.version) if question.version else made
        raise InferenceError(
            ErrorKind.NOT_FOUND, f"no route of model '{table.model}' takes this request", source="client", reason="no-route"
        )

    return plan


def unit_of(question: Question, unit: str) -> str:
    """What keeps a client on its variant; a request without that trait is its own unit."""
    match unit.partition(":"):
        case ("tenant", _, _):
            found = question.principal.tenant
        case ("subject", _, _):
            found = question.principal.subject
        case ("header", _, name):
            found = question.headers.get(name, "")
        case _:
            found = ""
    return found or question.request_id


def _action(table: RouteTable, route: Route) -> Planner:
    match route.action:
        case Use(target):
            plan = _plan(table, route, (Stage(target),))
            return lambda _: plan
        case Cascade(confidence, stages):
            plan = _plan(table, route, stages, confidence)
            return lambda _: plan
        case Split(shares, unit):
            plans = tuple(_plan(table, route, (Stage(target),)) for target, _ in shares)
            draw = drawing(key(table.model, route.name), [(target.variant, weight) for target, weight in shares])
            return lambda question: plans[draw(unit_of(question, unit))]


def _plan(table: RouteTable, route: Route, stages: tuple[Stage, ...], confidence: Confidence | None = None) -> Plan:
    alone = Plan(route.name, stages, route.timeout, confidence, dearest=table.dearest)
    return replace(
        alone,
        fallback=_reachable(table.fallback, stages),
        sample=route.sample,
        cache=table.cache,
        mirrors=tuple(_mirrors(table, alone)),
    )


def _mirrors(table: RouteTable, plan: Plan) -> Iterator[Mirror]:
    """The shadows that such a plan concerns: those of a variant that it may ask, or of its route."""
    for shadow, target in table.shadows:
        stages = tuple(replace(stage, target=target) if stage.target.variant == shadow.of else stage for stage in plan.stages)
        candidate = replace(plan, stages=stages) if shadow.of else replace(plan, stages=(Stage(target),), confidence=None)
        if shadow.route in ("", plan.route) and candidate != plan:
            yield Mirror(shadow, candidate, plan)


def _reachable(fallback: Mapping[str, Target], stages: tuple[Stage, ...]) -> Mapping[str, Target]:
    wanted = [stage.target.variant for stage in stages]
    found: dict[str, Target] = {}
    while wanted:
        variant = wanted.pop()
        if variant in fallback and variant not in found:
            found[variant] = fallback[variant]
            wanted.append(fallback[variant].variant)
    return found


def _pinned(plan: Plan, version: str) -> Plan:
    """The plan for a client that insists on a version: one target that serves it, and nobody else in its place."""
    if len(plan.stages) > 1:
        raise invalid(f"route '{plan.route}' is a cascade of several models: ask without a version", "version")
    target = plan.stages[0].target
    if target.version and target.version != version:
        raise InferenceError(
            ErrorKind.NOT_FOUND,
            f"version '{version}' is not served on route '{plan.route}'; it answers with version '{target.version}'",
            source="client",
            reason="version",
        )
    return replace(plan, stages=(Stage(replace(target, version=version)),), fallback={}, mirrors=())
