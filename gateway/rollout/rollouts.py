"""The rollouts of one process: which sides it draws, what it has counted, whether the candidate is fit; outlives every policy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from gateway.experiment.words import Asked, owner
from gateway.rollout.fit import fitness
from gateway.rollout.words import Fitness, Key, Order, Told
from gateway.snapshot import Snapshot
from gateway.spawner import Spawner
from policies.rollout import Lane, Rolled
from routing.match import RouteTable
from routing.planner import Planner
from routing.rollout.rollout import ASKING
from routing.shadow.shadows import Shadow

AGAIN = 1.0  # seconds until a candidate that is not ready yet is looked at again


class _Warming:
    """Whether the candidate of one attempt is fit, found out in the background."""

    def __init__(self, attempt: str) -> None:
        self.attempt = attempt
        self.fitness: Fitness = "waiting"
        self.text = "looking whether it is ready"


class Rollouts:
    """Made without a snapshot; `snapshot` tells of the one in force, and is set before anything is ordered."""

    def __init__(self, spawner: Spawner) -> None:
        self.snapshot: Callable[[], Snapshot]
        self._spawner = spawner
        self._lanes: dict[Key, Lane] = {}
        self._orders: dict[Key, Order] = {}
        self._warming: dict[Key, _Warming] = {}

    def rolled(self, tables: Mapping[str, RouteTable], plans: Mapping[str, Sequence[Planner]]) -> dict[str, Rolled]:
        """The planners of each model with rollouts. What is defined as before goes on as it is."""
        before, self._lanes = self._lanes, {}
        found = {}
        for name, table in tables.items():
            for rolling in table.rollouts:
                known = before.get((name, rolling.stable))
                kept = known is not None and known.rolling.definition == rolling.definition
                lane = self._lanes[name, rolling.stable] = known if kept and known is not None else Lane(rolling)
                lane.rolling = rolling  # of the same definition, but clients may tell of another metric
            if table.rollouts:
                lanes = [self._lanes[name, rolling.stable] for rolling in table.rollouts]
                found[name] = Rolled(plans[name], lanes, table.holdout)
        self._follow()
        return found

    def noted(self) -> list[tuple[str, list[Asked], int]]:
        """The requests of each attempt, since the last time, of which clients may tell something; and how many found no room."""
        found = []
        for lane in self._lanes.values():
            noted, lost, lane.noted, lane.lost = lane.noted, lane.lost, [], 0
            if noted or lost:
                found.append((lane.attempt, [Asked(name, owner(whose), *at) for name, whose, *at in noted], lost))
        return found

    def held(self, model: str, shadow: Shadow, candidate: bool, again: bool) -> None:
        """A shadow has compared both sides' answers to one question with the stable side's first: which of them differ?"""
        lane = self._lanes.get((model, shadow.of))
        if lane is not None and lane.sides[1] == shadow.to:
            lane.held(candidate, again)

    def exchange(self, orders: Sequence[Order]) -> list[Told]:
        """What was counted until now; and from now on these orders hold."""
        told = [self._told(key, lane) for key, lane in self._lanes.items() if lane.attempt]
        self._orders = {(order.model, order.stable): order for order in orders}
        self._follow()
        return told

    async def alone(self, orders: Sequence[Order]) -> list[list[Told]]:
        """The same, of a gateway that is this process alone."""
        return [self.exchange(orders)]

    def _told(self, key: Key, lane: Lane) -> Told:
        warming = self._warming.get(key)
        fit: tuple[Fitness, str] = ("", "")
        if warming is not None and warming.attempt == lane.attempt:
            fit = warming.fitness, warming.text
        return Told(*key, lane.attempt, lane.take(), *fit)

    def _follow(self) -> None:
        for key, lane in self._lanes.items():
            order = self._orders.get(key)
            if order is None or order.definition != lane.rolling.definition:
                lane.follow("", 0.0, watching=False)
                continue
            watching = order.state in ("pending", "warming") or order.state in ASKING
            lane.follow(order.attempt, order.weight, watching)
            known = self._warming.get(key)
            if order.state == "warming" and (known is None or known.attempt != order.attempt):
                warming = self._warming[key] = _Warming(order.attempt)
                self._spawner.spawn(self._warm(key, warming), f"warm-up of {key[0]}/{key[1]}")

    async def _warm(self, key: Key, warming: _Warming) -> None:
        """Until it is fit or will never be, or nobody wants it any more."""
        while warming.fitness == "waiting":
            order, lane = self._orders.get(key), self._lanes.get(key)
            if order is None or lane is None or order.attempt != warming.attempt or order.state != "warming":
                self._warming.pop(key, None)
                return
            found = await fitness(self.snapshot().clusters, lane.rolling.target, lane.rolling.candidate)
            warming.fitness, warming.text = found
            if warming.fitness == "waiting":
                await asyncio.sleep(AGAIN)
