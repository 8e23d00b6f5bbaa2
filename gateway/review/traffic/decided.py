"""How a policy treats one recorded request, said so that two treatments can be compared: by another policy, or as it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from backends.errors import InferenceError
from gateway.review.traffic.forecast import Facts, Forecast, facts, forecast
from gateway.review.traffic.replay import Replay
from gateway.telemetry.sample import Sample
from routing.match import RouteTable
from routing.plan import Plan


class Decided(NamedTuple):
    """`label` says who answers, `fast→accurate`, or `refused (version)`. `facts` of a plan of a policy's, None for what was."""

    route: str
    label: str
    refused: str  # the reason, or ""
    facts: Facts | None


class Treatment(Protocol):
    """Whatever decides about recorded requests."""

    def decided(self, sample: Sample) -> Decided:
        """What it makes of one."""
        ...

    def forecast(self, sample: Sample, decided: Decided) -> Forecast:
        """What that costs."""
        ...


class Recorded:
    """What came of the requests when they were recorded."""

    def decided(self, sample: Sample) -> Decided:
        """As the sample tells it."""
        if not sample.route:
            return _refused(sample.reason)
        stages = sample.stages
        return Decided(
            sample.route, stages[0].variant if len(stages) == 1 else "→".join([stage.variant for stage in stages]), "", None
        )

    def forecast(self, sample: Sample, decided: Decided) -> Forecast:
        """What it did cost."""
        return Forecast(sample.cost, sample.cost, (), True)


class ByPolicy:
    """What a policy would decide. `replay` counts what it could not know."""

    def __init__(self, tables: Mapping[str, RouteTable], aliases: Mapping[str, str]) -> None:
        self.replay = Replay(tables, aliases)
        self._facts: dict[int, tuple[Plan, Facts]] = {}  # a policy has few plans, and they stay; the plan is held for its id

    def decided(self, sample: Sample) -> Decided:
        """By the serving code's own planner."""
        plan = self.replay.decide(sample)
        if isinstance(plan, InferenceError):
            return _refused(plan.reason)
        found = self._facts.get(id(plan))
        if found is None:
            found = (plan, facts(plan, len(self._facts) + 1))
            if not sample.version:  # which makes a plan of its own for every request
                self._facts[id(plan)] = found
        known = found[1]
        return Decided(known.route, known.label, "", known)

    def forecast(self, sample: Sample, decided: Decided) -> Forecast:
        """By what was recorded."""
        if decided.facts is None:
            return Forecast(0.0, 0.0, ())
        return forecast(sample, decided.facts)


def _refused(reason: str) -> Decided:
    return Decided("", f"refused ({reason})", reason, None)
