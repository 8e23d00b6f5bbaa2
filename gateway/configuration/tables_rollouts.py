"""Makes the routing's values of a model's checked rollouts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.configuration import schema_experiments
from gateway.configuration import schema_policy as policy
from gateway.configuration.schema_rollouts import DISAGREEMENT, LATENCIES, THUMBS_DOWN, Guard
from routing.plan import Target
from routing.rollout.betting import POINTS, Metric
from routing.rollout.feedback import Feedback
from routing.rollout.rolling import Measure, Rolling
from routing.rollout.rollout import Proof, Step, Terms
from routing.rollout.units import Excluded


def rollouts_of(model: policy.Model, targets: Mapping[str, Target]) -> tuple[Rolling, ...]:
    """In the order of the names, so that moving a line changes nothing."""
    return tuple(_rolling(stable, rollout, targets) for stable, rollout in sorted(model.rollouts.items()))


def _rolling(stable: str, rollout: policy.Rollout, targets: Mapping[str, Target]) -> Rolling:
    guards = sorted(rollout.guards, key=lambda guard: guard.metric)
    terms = Terms(
        tuple(Step(step.weight, step.hold, step.samples or 0) for step in rollout.steps),
        tuple(_metric(guard) for guard in guards),
        rollout.alpha,
        msgspec.convert(rollout.proof, Proof),
        rollout.unit != "request",
    )
    measures = tuple(_measure(guard) for guard in guards)
    sides = [msgspec.structs.astuple(targets[name])[:4] for name in (stable, rollout.candidate)]
    excluded = Excluded() if rollout.group is None else Excluded(rollout.group.name, rollout.group.start, rollout.group.end)
    what = msgspec.json.encode(
        (sides, rollout.unit, *_plain(terms, measures), *([excluded] if rollout.group else [])), order="sorted"
    )
    return Rolling(
        *(stable, targets[stable], targets[rollout.candidate], rollout.unit, terms, measures),
        hashlib.sha256(what).hexdigest()[:16],
        excluded,
        tuple(feedback_of(each) for each in rollout.feedback),
    )


def feedback_of(feedback: schema_experiments.Feedback) -> Feedback:
    """Numbers lie between its bounds, or its labels' own; without either it is true or false."""
    numbers = sorted(feedback.labels.values()) or [feedback.low or 0.0, 1.0 if feedback.high is None else feedback.high]
    return Feedback(feedback.metric, "told" if feedback.of == "told" else "all", numbers[0], numbers[-1], dict(feedback.labels))


def _metric(guard: Guard) -> Metric:
    """A latency's tolerance is a scale, which the measure has; a share's are points, or times the stable side's."""
    if guard.metric == "latency":
        return Metric(guard.metric, "latency")
    if guard.metric in LATENCIES:
        return Metric(guard.metric)
    points = guard.max_increase if guard.max is None else guard.max
    return Metric(guard.metric, ratio=guard.max_ratio or 1.0, points=points, beside=guard.metric in (DISAGREEMENT, THUMBS_DOWN))


def _measure(guard: Guard) -> Measure:
    match guard.metric:
        case "error-rate":
            return Measure("error")
        case "timeout-rate":
            return Measure("timeout")
        case "unparseable-rate":
            return Measure("unparseable", output=guard.output or "")
        case "guardrail-rate":
            return Measure("guardrail", output=guard.output or "")
        case "disagreement" | "thumbs-down":
            return Measure("elsewhere")
        case metric:
            point = LATENCIES.get(metric)
            return Measure("latency", 1 + guard.max_increase, 0 if point is None else POINTS.index(point) + 1)


def _plain(terms: Terms, measures: tuple[Measure, ...]) -> Any:
    """As an earlier version wrote them where they say nothing that it did not know: an upgrade begins no rollout anew."""
    known = msgspec.to_builtins((terms, measures))
    for each in (*known[0]["metrics"], *known[1]):
        for later in ("beside", "output"):
            if not each.get(later, True):
                del each[later]
    return known
