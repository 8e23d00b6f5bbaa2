"""What a recorded request would have cost under another plan, and whom it would have asked: exactly where the record tells it.

A record tells it where the plan is the one that was followed, where it asks one variant, and where a cascade's stages, in any
order and with any thresholds, are models whose confidences the record has for the rows that would reach them. A row of which it
does not tell stays or goes up: then the cost lies between two bounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from gateway.telemetry.sample import UNIT, Ask, PlannedStage, Sample, confidence_text, stages, target_text
from routing.plan import Plan

Demand = tuple[tuple[str, int], ...]  # the backend's own model, and how many rows it is asked about


class Facts(msgspec.Struct, frozen=True):
    """What a plan means for cost, in a sample's own words. `label` says who answers: `fast`, or `fast→accurate`.

    `costs` is of a row, `calls` of an ask beside its rows, both by variant as `targets` are: what time and tokens cost nobody
    knows of what was not asked. `key` tells plans apart where that must be quick.
    """

    route: str
    label: str
    stages: tuple[PlannedStage, ...]
    confidence: tuple[str, str] | None
    costs: Mapping[str, float]
    calls: Mapping[str, float]
    targets: Mapping[str, str]
    timeout: float
    key: int = 0


class Forecast(msgspec.Struct, frozen=True, gc=False):
    """Cost between `low` and `high`, which are equal where it is known. `asked` is None where it is not known who would be.

    `kept`: the plan is the one that was followed, so all went as it went then.
    """

    low: float
    high: float
    asked: Demand | None
    kept: bool = False


def facts(plan: Plan, key: int = 0) -> Facts:
    """The plan's."""
    known = [*(stage.target for stage in plan.stages), *plan.fallback.values()]
    return Facts(
        plan.route,
        "→".join(stage.target.variant for stage in plan.stages),
        stages(plan),
        confidence_text(plan.confidence),
        {target.variant: target.cost for target in known},
        {target.variant: target.price.call if target.price else 0.0 for target in known},
        {target.variant: target_text(target) for target in known},
        plan.timeout,
        key,
    )


def forecast(sample: Sample, plan: Facts) -> Forecast:
    """For one sample and one plan."""
    if plan.stages == sample.stages and plan.confidence == sample.confidence:
        return _kept(sample, plan)
    rows = sample.rows or 1
    if len(plan.stages) == 1:
        (stage,) = plan.stages
        cost = plan.calls[stage.variant] + plan.costs[stage.variant] * rows
        return Forecast(cost, cost, ((stage.target, rows),))
    return _climbed(plan, rows, _scores(sample) if plan.confidence == sample.confidence else {})


def _kept(sample: Sample, plan: Facts) -> Forecast:
    """The asks that there were, at today's prices; what a fallback answered that is no more costs what it cost."""
    if any(ask.variant not in plan.costs for ask in sample.asks):
        return Forecast(sample.cost, sample.cost, None, True)
    cost = sum(plan.calls[ask.variant] + plan.costs[ask.variant] * ask.rows for ask in sample.asks)
    return Forecast(cost, cost, tuple([(plan.targets[ask.variant], ask.rows) for ask in sample.asks]), True)


def _scores(sample: Sample) -> dict[tuple[str, str], dict[int, int]]:
    """How sure each model was of each row, as far as the sample tells: by target and scale, then row."""
    found: dict[tuple[str, str], dict[int, int]] = {}
    rows: Sequence[int] = range(sample.rows or 1)
    for stage, ask in zip(sample.stages, sample.asks, strict=False):
        if not _tells(stage, ask, len(rows)):
            break
        assert ask.scores is not None
        assert stage.accept is not None
        found[stage.target, stage.scale] = dict(zip(rows, ask.scores, strict=True))
        rows = [row for row, score in zip(rows, ask.scores, strict=True) if score / UNIT < stage.accept]
    return found


def _tells(stage: PlannedStage, ask: Ask, rows: int) -> bool:
    """Not if a fallback answered, or if the rows cannot be told apart any more."""
    if ask.scores is None or stage.accept is None or ask.variant != stage.variant:
        return False
    return len(ask.scores) == rows


def _climbed(plan: Facts, rows: int, scores: Mapping[tuple[str, str], Mapping[int, int]]) -> Forecast:
    if not scores:  # of however many rows
        costs = [plan.calls[stage.variant] + plan.costs[stage.variant] * rows for stage in plan.stages]
        return Forecast(costs[0], sum(costs), None)
    low = high = 0.0
    asked: list[tuple[str, int]] = []
    surely = list(range(rows))
    perhaps: list[int] = []
    doubtful = False
    for stage in plan.stages:
        cost, call = plan.costs[stage.variant], plan.calls[stage.variant]
        low += cost * len(surely) + (call if surely else 0.0)
        high += cost * (len(surely) + len(perhaps)) + call
        if surely:
            asked.append((stage.target, len(surely)))
        if stage.accept is None:
            break
        known, bar = scores.get((stage.target, stage.scale), {}), stage.accept
        if perhaps:
            perhaps = [row for row in perhaps if row not in known or known[row] / UNIT < bar]
        if len(known) < rows:
            perhaps += [row for row in surely if row not in known]
        surely = [row for row in surely if row in known and known[row] / UNIT < bar]
        if perhaps:
            doubtful = True
        elif not surely:
            break
    return Forecast(low, high, None if doubtful else tuple(asked))
