"""Makes the routing's values of a model's checked rollouts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from gateway.configuration import schema_policy as policy
from gateway.configuration.schema_rollouts import LATENCIES, Guard
from routing.plan import Target
from routing.rollout.betting import POINTS, Metric
from routing.rollout.rolling import Measure, Rolling
from routing.rollout.rollout import Step, Terms


def rollouts_of(model: policy.Model, targets: Mapping[str, Target]) -> tuple[Rolling, ...]:
    """In the order of the names, so that moving a line changes nothing."""
    return tuple(_rolling(stable, rollout, targets) for stable, rollout in sorted(model.rollouts.items()))


def _rolling(stable: str, rollout: policy.Rollout, targets: Mapping[str, Target]) -> Rolling:
    guards = sorted(rollout.guards, key=lambda guard: guard.metric)
    terms = Terms(
        tuple(Step(step.weight, step.hold, step.samples or 0) for step in rollout.steps),
        tuple(_metric(guard) for guard in guards),
        rollout.alpha,
        "mirror" if rollout.proof == "mirror" else "time",
        rollout.unit != "request",
    )
    measures = tuple(_measure(guard) for guard in guards)
    sides = [msgspec.structs.astuple(targets[name])[:4] for name in (stable, rollout.candidate)]
    what = msgspec.json.encode((sides, rollout.unit, terms, measures), order="sorted")
    return Rolling(
        stable, targets[stable], targets[rollout.candidate], rollout.unit, terms, measures, hashlib.sha256(what).hexdigest()[:16]
    )


def _metric(guard: Guard) -> Metric:
    """A latency's tolerance is a scale, which the measure has; a share's are points."""
    if guard.metric == "latency":
        return Metric(guard.metric, "latency")
    return Metric(guard.metric, points=0.0 if guard.metric in LATENCIES else guard.max_increase)


def _measure(guard: Guard) -> Measure:
    match guard.metric:
        case "error-rate":
            return Measure("error")
        case "timeout-rate":
            return Measure("timeout")
        case metric:
            point = LATENCIES.get(metric)
            return Measure("latency", 1 + guard.max_increase, 0 if point is None else POINTS.index(point) + 1)
