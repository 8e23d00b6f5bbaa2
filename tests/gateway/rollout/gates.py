"""Gateways of one process each that share rollouts by a store that can be away, lose answers, and forget."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.aside import here
from gateway.rollout.leader import Leader, Ways
from gateway.rollout.words import Fitness, Look, Order, There, Told, Write
from gateway.shadow.report import Report as ShadowReport
from gateway.telemetry.rollouts import RolloutNumbers
from routing.match import RouteTable
from routing.plan import Target
from routing.rollout.betting import Metric
from routing.rollout.rolling import Measure, Rolling
from routing.rollout.rollout import Note, Rollout, Step, Terms
from routing.rollout.tally import Batch, Tally

KEY = ("digits", "live")
TERMS = Terms((Step(0.5, 60.0, 10), Step(0.75, 60.0, 10)), (Metric("error-rate"),), proof="time", sticky=False)
ROLLING = Rolling("live", Target("live", "b", "l"), Target("next", "b", "n"), "request", TERMS, (Measure("error"),), "definition")


class Store:
    """What a Redis is to gateways. `away`: it does not answer; `fails`: what becomes of the next writes, whose answers are lost:
    whether they were done."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.away = False
        self.fails: list[bool] = []
        self.pages: dict[str, tuple[str, int, bytes, bytes]] = {}
        self.present: dict[str, tuple[float, bytes]] = {}
        self.between: list[Gate] = []  # each writes once between another's look and write

    async def look(self, look: Look) -> There | None:
        if self.away:
            return None
        self.present[look.name] = self.now, look.present
        line, version, page, units = self.pages.get(look.key, ("", 0, b"", b""))
        offset = look.offset if line == look.line else 0
        same = (line, version) == (look.line, look.version)
        present = {
            name: told for name, (at, told) in self.present.items() if self.now - at < 3
        }  # whose `at` lies ahead is there for ever
        found = There(self.now, line, version, b"" if same else page, offset, b"" if same else units[offset:], present)
        while self.between:
            await self.between.pop().round(seconds=0.0)
        return found

    async def write(self, write: Write) -> bool | None:
        lost = self.fails.pop(0) if self.fails else None
        if self.away or lost is False:
            return None
        line, version, _, units = self.pages.get(write.key, ("", 0, b"", b""))
        done = (line, version) == write.before
        if done:
            known = units if line == write.line else b""
            self.pages[write.key] = write.line, write.version, write.page, known + write.units
        return None if lost else done


class Gate:
    """One gateway with one process."""

    def __init__(self, store: Store, rolling: Rolling = ROLLING) -> None:
        self.store = store
        self.tables = {"digits": RouteTable("digits", (), rollouts=(rolling,))}
        self.batch: Batch | None = None
        self.orders: Sequence[Order] = ()
        self.noted: list[Note] = []
        self.numbers = RolloutNumbers()
        self.mirror = ""
        ways = Ways(lambda: self.tables, self.exchange, self.mirrors, lambda _, note: self.noted.append(note), lambda: 7.0, store)
        self.leader = Leader(ways, None, here, self.numbers)

    async def exchange(self, orders: Sequence[Order]) -> list[list[Told]]:
        before, self.orders = self.orders, orders
        batch, self.batch = self.batch or Tally(TERMS.metrics, sticky=False).take(), None
        asked: tuple[Fitness, Fitness] = ("waiting", "fit")
        return [[Told(each.model, each.stable, each.attempt, batch, asked[each.state == "warming"]) for each in before]]

    async def mirrors(self) -> Sequence[ShadowReport]:
        return []

    @property
    def rollout(self) -> Rollout:
        return self.leader._led[KEY].rollout

    async def round(self, batch: Batch | None = None, seconds: float = 0.5) -> str:
        self.store.now += seconds
        self.batch = batch
        await self.leader.round()
        (order,) = self.leader.orders
        return f"{order.state} {order.weight:g}"

    async def act(self, verb: str, why: str = "") -> str:
        report = await self.leader.act(KEY, verb, "alice", why)  # type: ignore[arg-type]
        return f"{report.state} {report.weight:g}"


def counted(stable: int, candidate: int, failed: int = 0, weight: float = 0.5) -> Batch:
    """So many requests of each side; of the candidate's so many failed."""
    tally = Tally(TERMS.metrics, sticky=False)
    for place, count in ((1.0, stable), (0.0, candidate)):
        for number in range(count):
            tally.drew(place, weight)
            tally.saw(place, weight, [int(not place and number < failed)])
    return tally.take()


async def gates(store: Store, count: int = 2) -> list[Gate]:
    """Gateways of one rollout that has weight."""
    several = [Gate(store) for _ in range(count)]
    for gate in several:
        await gate.round()
    assert "warming 0" == await several[0].act("start")
    await running(several)
    return several


async def running(several: Sequence[Gate]) -> None:
    """Returns when the candidate has weight at all of them."""
    while {"running 0.5"} != {await gate.round() for gate in several}:
        pass
