"""Makes the plan of a question: the same function serves live traffic, `penstock policy explain` and the policy's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError, invalid
from routing.conditions import Predicate, predicates
from routing.match import Cascade, Question, Route, RouteTable, Split, Use
from routing.plan import Mirror, Plan, Stage, Target
from routing.split import drawing, key

Planner = Callable[[Question], Plan]


def planner(table: RouteTable, swaps: Mapping[str, Target] = {}) -> Planner:
    """The table as one function. Every plan that does not depend on the question is built here, once.

    `swaps`: by variant, who is asked in its place wherever it would be; a split draws by its sides' own names all the same.
    """
    rules: tuple[tuple[tuple[Predicate, ...], Planner], ...] = tuple(
        (predicates(route.match), _action(table, route, swaps)) for route in table.routes
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
    return reading(unit)(question)


def reading(unit: str) -> Callable[[Question], str]:
    """`unit_of` of this unit, as a function of the question."""
    match unit.partition(":"):
        case ("tenant", _, _):
            return lambda question: question.principal.tenant or question.request_id
        case ("subject", _, _):
            return lambda question: question.principal.subject or question.request_id
        case ("header", _, name):
            return lambda question: question.headers.get(name) or question.request_id
        case _:
            return lambda question: question.request_id


def _action(table: RouteTable, route: Route, swaps: Mapping[str, Target]) -> Planner:
    match route.action:
        case Use(target):
            plan = _plan(table, route, (Stage(target),), swaps)
            return lambda _: plan
        case Cascade(_, stages) as cascade:
            plan = _plan(table, route, stages, swaps, cascade)
            return lambda _: plan
        case Split(shares, unit):
            plans = tuple(_plan(table, route, (Stage(target),), swaps) for target, _ in shares)
            draw = drawing(key(table.model, route.name), [(target.variant, weight) for target, weight in shares])
            told = reading(unit)
            return lambda question: plans[draw(told(question))]


def _plan(
    table: RouteTable,
    route: Route,
    named: tuple[Stage, ...],
    swaps: Mapping[str, Target],
    cascade: Cascade | None = None,
) -> Plan:
    stages = tuple(replace(stage, target=swaps.get(stage.target.variant, stage.target)) for stage in named) if swaps else named
    fallback = _reachable(table.fallback, stages, swaps)
    asked = {target.variant for target in (*(stage.target for stage in stages), *fallback.values())}
    alone = Plan(route.name, stages, route.timeout, cascade.confidence if cascade else None, dearest=table.dearest)
    return replace(
        alone,
        fallback=fallback,
        sample=route.sample,
        cache=table.cache,
        mirrors=tuple(_mirrors(table, alone)),
        swapped=tuple(target.variant for target in swaps.values() if target.variant in asked),
        speculate=cascade.speculate if cascade else None,
        audit=cascade.audit if cascade else None,
        budget=cascade.budget if cascade else None,
    )


def _mirrors(table: RouteTable, plan: Plan) -> Iterator[Mirror]:
    """The shadows that such a plan concerns: those of a variant that it may ask, or of its route."""
    for shadow, target in table.shadows:
        stages = tuple(replace(stage, target=target) if stage.target.variant == shadow.of else stage for stage in plan.stages)
        candidate = replace(plan, stages=stages) if shadow.of else replace(plan, stages=(Stage(target),), confidence=None)
        if shadow.route in ("", plan.route) and candidate != plan:
            yield Mirror(shadow, candidate, plan)


def _reachable(fallback: Mapping[str, Target], stages: tuple[Stage, ...], swaps: Mapping[str, Target]) -> Mapping[str, Target]:
    """Who stands in for whom. A candidate that has nobody of its own has who stands in for the variant in whose place it is."""
    origins = {target.variant: name for name, target in swaps.items()}
    wanted = [stage.target.variant for stage in stages]
    found: dict[str, Target] = {}
    while wanted:
        variant = wanted.pop()
        instead = fallback.get(variant) or fallback.get(origins.get(variant, ""))
        if instead is None or variant in found:
            continue
        for target in (swaps.get(instead.variant, instead), instead):  # a candidate may fall back on what it takes the place of
            if not _leads(found, target.variant, variant):
                found[variant] = target
                wanted.append(target.variant)
                break
    return found


def _leads(found: Mapping[str, Target], start: str, end: str) -> bool:
    while start != end and start in found:
        start = found[start].variant
    return start == end


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
