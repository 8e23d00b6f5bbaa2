"""Explains what a policy does with one request: every decision in the order in which it is taken, and what comes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from gateway.configuration.problems import nearest
from gateway.configuration.schema_policy import Holdout, Model, PolicyDocument
from gateway.configuration.schema_tests import Request
from gateway.configuration.tables import limit_of, route_tables
from gateway.dialects.reply import client_timeout
from gateway.dialects.v2_http import status
from gateway.review.decision import Decider, Decision
from gateway.review.limits import allowed
from gateway.review.words import share
from gateway.review.written import headers_of, principal_of
from policies.onion import effective
from routing.cache.key import told
from routing.cost import Costs
from routing.explain import Explained, Finding, Lot, Possibility, Tried
from routing.limits import findings, whose
from routing.plan import Mirror, Plan, Stage
from routing.planner import reading
from routing.price import Price
from routing.principal import INFER, Principal, spared
from routing.rollout.units import Holdout as Holding
from routing.rollout.units import holding


class Check(msgspec.Struct, frozen=True):
    """One decision before the routes: `holds` tells whether the request got past it."""

    name: str  # model, authorize, version; request where something in the head is wrong
    said: str
    holds: bool = True


class Refusal(msgspec.Struct, frozen=True):
    """What the client hears: X-Penstock-Error, the HTTP status, the text."""

    reason: str
    status: int
    message: str


class Turn(msgspec.Struct, frozen=True):
    """One variant that is asked, in this place of a cascade."""

    variant: str
    backend: str
    model: str  # the backend's own name
    version: str  # "" for the backend's default
    cost: float  # per row
    timeout: float | None  # seconds that one ask may take; None: what is left of the deadline
    accept: float | None  # rows at least so sure keep its answer; None: all do
    calibrated: int  # so many labels have maps of what its scores are worth, all others together one; 0: as they are
    fallback: tuple[str, ...]  # who is asked instead if it fails, one after the other
    price: Price | None = None  # beside its rows


class Mirrored(msgspec.Struct, frozen=True):
    """One shadow that such a request concerns; `share` of them is mirrored, `noise` of these asked again."""

    shadow: str
    asked: tuple[str, ...]  # the candidate's variants, in stage order
    share: float
    noise: float
    spared: bool  # the caller's questions are never mirrored


class Audited(msgspec.Struct, frozen=True):
    """The audit of its cascade: `share` of the rows that are kept is asked of `dear`, too."""

    share: float
    promise: float
    dear: str
    falls: bool  # after an alarm that variant answers alone
    spared: bool  # the caller's rows are never audited


class Rolls(msgspec.Struct, frozen=True):
    """One rollout that such a request may take part in, once somebody has started it."""

    stable: str
    candidate: str
    unit: str
    group: str = ""  # of exclusion, and its part of that: `checkout, 0 % to 40 %`


class Course(msgspec.Struct, frozen=True):
    """What comes of the request, or of `share` of the requests like it: a refusal, or the plan."""

    share: float
    refused: Refusal | None
    route: str = ""
    deadline: float = 0.0  # seconds
    deadline_of: str = ""  # whose it is: route, model or client
    asked: tuple[Turn, ...] = ()
    confidence: str = ""  # `max-softmax of probabilities`
    together: bool = False  # rows go up a cascade all at once, or not at all
    ahead: float | None = None  # the next stage may be asked at once where so large a share of rows is expected to go up
    least: float = 0.0  # cost if the first stage is sure of every row, time and tokens apart: nobody knows these beforehand
    most: float = 0.0  # cost if every stage is asked about every row, time and tokens apart
    budget: float | None = None  # the share of the route's rows that may go up; None: all
    sample: float = 0.0  # the share of such requests that is recorded
    layers: tuple[str, ...] = ()  # what stands round the ask, outermost first
    cache: Mapping[str, str] = {}  # what the key of its answer is made of, part by part; empty without a cache
    mirrors: tuple[Mirrored, ...] = ()
    rollouts: tuple[Rolls, ...] = ()
    audit: Audited | None = None


class Counting(msgspec.Struct, frozen=True):
    """One limit: whether it counts the request, by which conditions, and then whose bucket pays."""

    limit: str
    counts: bool
    allows: str
    conditions: tuple[Finding, ...]
    per: str = ""  # tenant, subject, tier or model; "" where all that it counts share one bucket
    value: str = ""  # whose bucket it is; "" for those who have no such value


class Explanation(msgspec.Struct, frozen=True):
    """All of it. `refused` is set where nobody would answer, whatever a split decides."""

    policy: str  # the document's version
    request: Request
    model: str  # as the policy calls it; "" if it has none such
    checks: tuple[Check, ...]
    routes: tuple[Tried, ...]
    split: Lot | None
    answers: tuple[Course, ...]
    refused: Refusal | None
    limits: tuple[Counting, ...] = ()  # of a request that gets so far
    holdout: str = ""  # where rollouts concern it: whether it is held out of them


def explain(document: PolicyDocument, request: Request, version: str = "", decider: Decider | None = None) -> Explanation:
    """What this policy does with such a request; `version` is the policy's, to be shown.

    Whoever asks often hands over the same `decider` each time: one of this document, else one is made.
    """
    decision = (decider or Decider(route_tables(document), document.aliases)).decide(request)
    name = decision.explainer.table.model if decision.explainer else ""
    limits = tuple(_counting(document, principal_of(request), name))
    counted = tuple(_layers_of(document, limits))
    courses = tuple(_course(document.models.get(name), each, request, counted) for each in decision.possibilities)
    refusals = [course.refused for course in courses]
    explained = decision.explainer.explain(decision.question) if decision.explainer and decision.question else Explained(())
    return Explanation(
        policy=version,
        request=request,
        model=name,
        checks=tuple(_checks(decision, request, name, (*document.models, *document.aliases))),
        routes=explained.tried,
        split=explained.lot,
        answers=courses,
        refused=refusals[0] if all(refusals) else None,
        limits=() if all(refusals) else limits,
        holdout=_holdout(document.holdout, decision, request) if any(course.rollouts for course in courses) else "",
    )


def _counting(document: PolicyDocument, principal: Principal, model: str) -> Iterator[Counting]:
    for index, entry in enumerate(document.limits):
        limit = limit_of(entry, index)
        found = findings(limit, principal, model)
        counts = all(each.holds for each in found)
        bucket = (limit.per, whose(limit, principal, model)) if counts else ("", "")
        yield Counting(limit.name, counts, allowed(entry), found, *bucket)


def _layers_of(document: PolicyDocument, limits: Iterable[Counting]) -> Iterator[str]:
    """Which layers count the request."""
    counting = [limit_of(entry, 0) for entry, each in zip(document.limits, limits, strict=True) if each.counts]
    if any(limit.allowances for limit in counting):
        yield "limit"
    if any(limit.budgets for limit in counting):
        yield "budget"


def _checks(decision: Decision, request: Request, name: str, names: Iterable[str]) -> Iterator[Check]:
    """What is decided before the routes are looked at; `names` are those that clients may use."""
    result = decision.possibilities[0].result
    refused = result if decision.question is None and isinstance(result, InferenceError) else None
    if refused is not None and not name:
        meant = nearest(request.model, names)
        yield Check("model", f"unknown model '{request.model}'" + (f" — did you mean '{meant}'?" if meant else ""), False)
        return
    yield Check("model", f"'{name}'" if name == request.model else f"'{request.model}' is an alias of '{name}'")
    if refused is not None and refused.kind is ErrorKind.FORBIDDEN:
        yield Check("authorize", refused.message, False)
        return
    scopes = {INFER, f"{INFER}:{name}"}.intersection(request.principal.scopes)
    yield Check("authorize", f"scope {min(scopes)} permits it")
    if refused is not None:
        yield Check("request", refused.message, False)
        return
    yield Check("version", _version(decision))


def _version(decision: Decision) -> str:
    if decision.explainer is None or decision.question is None or not decision.question.version:
        return "none is asked for"
    versions = decision.explainer.table.versions
    policy = f"specific({', '.join(sorted(versions.named))})" if versions.named else "all"
    if versions.latest is not None:
        policy = f"latest({versions.latest}), and only the backend knows which those are"
    return f"'{decision.question.version}' is asked for; version_policy: {policy}"


def _course(model: Model | None, possibility: Possibility, request: Request, counted: Sequence[str]) -> Course:
    plan = possibility.result
    if isinstance(plan, InferenceError):
        return Course(possibility.share, Refusal(plan.reason, status(plan.kind), plan.message))
    assert model is not None, "nobody plans for a model that is not there"
    deadline, whose = _deadline(model, plan, request)
    asked = tuple(_turn(stage, plan) for stage in plan.stages)
    costs = [Costs().likely("", stage.target, request.rows or 1) for stage in plan.stages]
    return Course(
        share=possibility.share,
        refused=None,
        route=plan.route,
        deadline=deadline,
        deadline_of=whose,
        asked=asked,
        confidence=plan.confidence.text if plan.confidence else "",
        together=len(asked) > 1 and not (request.rows and plan.row_independent),
        ahead=plan.speculate,
        least=costs[0],
        most=sum(costs),
        budget=plan.budget,
        sample=plan.sample,
        layers=effective(plan, counted),
        cache={} if plan.cache is None else told(plan, principal_of(request)),
        mirrors=tuple(_mirrored(each, principal_of(request)) for each in plan.mirrors),
        rollouts=() if request.version else tuple(_rolls(model, plan)),
        audit=_audited(plan, principal_of(request)),
    )


def _rolls(model: Model, plan: Plan) -> Iterator[Rolls]:
    asked = {target.variant for target in (*(stage.target for stage in plan.stages), *plan.fallback.values())}
    for stable, rollout in model.rollouts.items():
        if stable in asked:
            group = rollout.group
            part = "" if group is None else f"{group.name}, {share(group.start)} to {share(group.end)}"
            yield Rolls(stable, rollout.candidate, rollout.unit, part)


def _holdout(held: Holdout | None, decision: Decision, request: Request) -> str:
    if held is None or decision.question is None:
        return ""
    unit = reading(held.unit)(replace(decision.question, request_id=request.request_id))
    out = bool(unit) and holding(Holding(held.share, held.unit))(unit)
    whose = f"{share(held.share)} by {held.unit}"
    return f"{whose}, this one too: no candidate of any rollout" if out else f"{whose}, not this one" if unit else whose


def _audited(plan: Plan, principal: Principal) -> Audited | None:
    audit, dear = plan.audit, plan.stages[-1].target.variant
    return None if audit is None else Audited(audit.share, round(1 - audit.most, 12), dear, audit.falls, spared(audit, principal))


def _mirrored(mirror: Mirror, principal: Principal) -> Mirrored:
    shadow = mirror.shadow
    asked = tuple(stage.target.variant for stage in mirror.candidate.stages)
    return Mirrored(shadow.name, asked, shadow.fraction, shadow.noise, spared(shadow, principal))


def _deadline(model: Model, plan: Plan, request: Request) -> tuple[float, str]:
    own = next(route.timeout for route in model.routes if route.name == plan.route)
    client = client_timeout(headers_of(request))
    if client is not None and client < plan.timeout:
        return client, "client"
    return plan.timeout, "model" if own is None else "route"


def _turn(stage: Stage, plan: Plan) -> Turn:
    target, instead = stage.target, list[str]()
    maps = 0 if stage.calibration is None else len(stage.calibration.maps)
    following = plan.fallback.get(target.variant)
    while following is not None:  # the check of the document refuses circles
        instead.append(following.variant)
        following = plan.fallback.get(following.variant)
    return Turn(
        target.variant,
        target.backend,
        target.model,
        target.version,
        target.cost,
        target.timeout,
        stage.accept,
        maps,
        tuple(instead),
        target.price,
    )
