"""Those who decide for all processes of a gateway: on rollouts, audits and A/B tests."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gateway.aside import Runner
from gateway.audit.leader import Auditor
from gateway.audit.leader import Ways as AuditWays
from gateway.audit.words import Order as AuditOrder
from gateway.audit.words import Told as AuditTold
from gateway.experiment.experiments import Experiments, Joined
from gateway.experiment.experiments import Ways as ExperimentWays
from gateway.experiment.words import Gathered, Hearsay
from gateway.reload.reloader import Reloader
from gateway.rollout.leader import Leader
from gateway.rollout.leader import Ways as RolloutWays
from gateway.rollout.words import Key, Later, Order, Pages, Told
from gateway.shadow.report import Report
from gateway.spawner import Spawn
from gateway.telemetry.audits import AuditNumbers
from gateway.telemetry.rollouts import RolloutNumbers
from routing.match import RouteTable


class Shared(Pages, Hearsay, Protocol):
    """What several gateways with one store share."""


class OwnNumbers(Protocol):
    """The metrics that only whoever decides has."""

    rollouts: RolloutNumbers
    audits: AuditNumbers


@dataclass(frozen=True, slots=True)
class Reach:
    """How every process that serves is reached: `rollouts` and `audits` are given orders and say what they saw, `gather` has
    what clients told, `mirrors` what shadows found."""

    rollouts: Callable[[Sequence[Order]], Awaitable[Sequence[Sequence[Told]]]]
    audits: Callable[[Sequence[AuditOrder]], Awaitable[Sequence[Sequence[AuditTold]]]]
    gather: Callable[[], Awaitable[Sequence[Gathered]]]
    mirrors: Callable[[], Awaitable[Sequence[Report]]]
    shared: Shared | None  # where there is a store


class Leads:
    """Of the process that keeps the policy, the only one or the workers' parent. `folder` has what was decided."""

    def __init__(self, policy: Reloader, reach: Reach, folder: Path | None, run: Runner, numbers: OwnNumbers) -> None:
        def tables() -> Mapping[str, RouteTable]:
            return policy.in_force.blueprint.tables

        def joined(key: Key, told: Sequence[Joined]) -> None:
            self.rollouts.heard(key, [Later(each.attempt, each.metric, *each.stood, each.value > 0.5) for each in told])

        rollouts = RolloutWays(tables, reach.rollouts, reach.mirrors, policy.rolled, time.time, reach.shared)
        self.rollouts = Leader(rollouts, folder, run, numbers.rollouts)
        self.audits = Auditor(AuditWays(tables, reach.audits, policy.audited, time.time), folder, run, numbers.audits)
        orders, clocks = lambda: self.rollouts.orders, (time.time, time.monotonic)
        told = ExperimentWays(tables, orders, reach.gather, joined, *clocks, reach.shared)
        self.experiments = Experiments(told, folder, run, numbers.rollouts.feedback)

    def keep(self, spawn: Spawn) -> None:
        """From now on."""
        spawn(self.rollouts.keep(), "rollouts")
        spawn(self.audits.keep(), "audits")
        spawn(self.experiments.keep(), "experiments")
