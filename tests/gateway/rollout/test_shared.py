"""Gateways that share rollouts: one order of all counts, none of them twice, and what each does while the store is away."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import msgspec
import pytest
from msgspec.structs import replace

from backends.errors import InferenceError
from gateway.aside import here
from gateway.rollout.leader import AwayError, Leader, Ways
from gateway.rollout.words import Fitness, Look, Order, Page, There, Told, Write
from gateway.shadow.report import Report as ShadowReport
from gateway.telemetry.rollouts import RolloutNumbers
from routing.match import RouteTable
from routing.plan import Target
from routing.rollout.betting import Metric
from routing.rollout.rolling import Measure, Rolling
from routing.rollout.rollout import Note, Rollout, Step, Terms, memory, observe
from routing.rollout.tally import Batch, Tally
from tests.faults.figures import LONG

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


async def test_one_rollout() -> None:
    """What one is told the other obeys; what either counts is evidence of both, and the audit log of each says who did it."""
    one, two = await gates(Store())
    assert ["alice", "penstock"] == [note.who for note in one.noted]
    assert one.noted == two.noted
    await one.round(counted(3, 4))
    await two.round(counted(5, 6))
    await one.round()
    assert one.rollout.evidence == two.rollout.evidence
    assert (8, 10) == one.rollout.evidence["error-rate"].looked
    assert "paused 0.5" == await two.act("pause", "lunch")
    assert "paused 0.5" == await one.round()
    assert "alice said pause: lunch" == one.noted[-1].text
    assert 2 == len((await one.leader.shown())[0].gateways)


async def test_all_warm_up() -> None:
    """A candidate that one gateway has not found fit has no weight at any."""
    store = Store()
    one, two = Gate(store), Gate(store)
    for gate in (one, two):
        await gate.round()
    await one.act("start")
    assert ["warming 0"] * 3 == [await one.round(seconds=0.1) for _ in range(3)]
    assert {"warming 0", "running 0.5"} == {await two.round(seconds=0.1) for _ in range(3)}


async def test_who_speaks_otherwise_is_not_heard() -> None:
    """A gateway of another version hinders nobody."""
    store = Store()
    store.present["later"] = 1e9, b"in other words"
    one, _ = await gates(store)
    assert "running 0.5" == await one.round(counted(1, 1))


async def test_the_evidence_of_all_takes_it_back_at_all() -> None:
    """In the next round of each; no one alone had enough. The verdict is counted once."""
    one, two = await gates(Store())
    assert "running 0.5" == await one.round(counted(6, 6, failed=5))
    assert "rolled-back 0" == await two.round(counted(6, 6, failed=6))
    assert "rolled-back 0" == await one.round()
    lines = [line for gate in (one, two) for each in gate.numbers.families() for line in each.lines() if "harmful" in line]
    assert 1 == len(lines)


async def test_who_was_second_reads_again() -> None:
    """Both write at once: neither's counts are lost."""
    store = Store()
    one, two = await gates(store)
    two.batch = counted(1, 2)
    store.between = [two]
    await one.round(counted(10, 20))
    await two.round()
    assert (10, 20) == one.rollout.evidence["error-rate"].looked  # the other's round had nothing in it but its time
    await two.round(counted(1, 2))
    assert (11, 22) == two.rollout.evidence["error-rate"].looked


@pytest.mark.parametrize("done", [True, False])
async def test_a_write_of_which_nobody_knows(done: bool) -> None:
    """Is found out about: its counts are taken in once."""
    store = Store()
    one, two = await gates(store)
    store.fails = [done]
    await one.round(counted(10, 20))
    await two.round(counted(1, 2))
    await one.round(counted(100, 200))
    await one.round()
    assert (111, 222) == one.rollout.evidence["error-rate"].looked


async def test_any_faults() -> None:
    """Whatever is lost on the way, and whoever is killed: no count twice, and none is lost of gateways that live."""
    for seed in range(20):
        chance, store = random.Random(seed), Store()
        several = await gates(store, 3)
        told = 0
        for _ in range(60):
            gate = chance.choice(several)
            store.away = chance.random() < 0.2
            store.fails = [chance.random() < 0.5] if chance.random() < 0.3 else []
            others = [each for each in several if each is not gate]
            store.between = [chance.choice(others)] if chance.random() < 0.2 and not store.away else []
            number = chance.randrange(5)
            told += number
            await gate.round(counted(number, number), seconds=0.1)
        store.away, store.fails = False, []
        for gate in 3 * several:
            await gate.round(seconds=0.1)
        assert {(told, told)} == {gate.rollout.evidence["error-rate"].looked for gate in several}, seed


async def test_while_the_store_is_away() -> None:
    """Each keeps its weight, no step ends, and what was counted meanwhile counts when it is back."""
    store = Store()
    one, two = await gates(store)
    for gate in (one, two):
        await gate.round(counted(20, 20))
    store.away = True
    for _ in range(300):
        assert "running 0.5" == await one.round(counted(1, 1))
    assert "this gateway keeps its weight" in (await one.leader.shown())[0].away
    for verb in ("pause", "promote"):
        with pytest.raises(AwayError):
            await one.act(verb)
    store.away = False
    await one.round()
    assert (340, 340) == one.rollout.evidence["error-rate"].looked
    assert "" == (await one.leader.shown())[0].away


async def test_harm_while_the_store_is_away() -> None:
    """Who sees it gives the candidate nothing; all take it back when all know."""
    store = Store()
    one, two = await gates(store)
    store.away = True
    assert "running 0.5" == await one.round()
    assert "running 0" == await one.round(counted(20, 20, failed=20))
    assert "running 0" == await one.round()
    assert "harmful" in (await one.leader.shown())[0].away
    assert "running 0.5" == await two.round()
    store.away = False
    assert "rolled-back 0" == await one.round()
    assert "rolled-back 0" == await two.round()


async def test_a_person_takes_it_back_while_the_store_is_away() -> None:
    """It is obeyed here at once, and by all when they can hear of it."""
    store = Store()
    one, two = await gates(store)
    store.away = True
    assert "running 0" == await one.act("rollback", "wrong labels")
    assert "running 0" == await one.round()
    store.away = False
    assert "rolled-back 0" == await one.round()
    assert "rolled-back 0" == await two.round()
    assert "alice said rollback: wrong labels" == two.noted[-1].text


async def test_a_store_that_has_lost_everything() -> None:
    """Is told again how things stand; who comes first does it, and nothing moves."""
    store = Store()
    one, two = await gates(store)
    await one.round(counted(10, 20))
    await two.round()
    store.pages.clear()
    assert "running 0.5" == await two.round()
    assert "running 0.5" == await one.round(counted(1, 2))
    assert "running 0.5" == await two.round()
    assert (11, 22) == two.rollout.evidence["error-rate"].looked
    another = Gate(store)
    assert "running 0.5" == await another.round()
    assert [] == another.noted


async def test_a_store_that_has_fallen_behind() -> None:
    """A replica that takes over may not know of the rollback: whoever does says it again."""
    store = Store()
    one, two = await gates(store)
    before = dict(store.pages)
    await one.act("rollback")
    store.pages = before
    assert "rolled-back 0" == await one.round()
    assert "rolled-back 0" == await two.round()


async def test_sticky_units_are_known_to_all() -> None:
    """A unit's event counts once, at whichever gateway it comes first; also after the store has lost what it knew."""
    store = Store()
    sticky = replace(ROLLING, terms=replace(TERMS, sticky=True), definition="sticky")
    one, two = Gate(store, sticky), Gate(store, sticky)
    for gate in (one, two):
        await gate.round()
    await one.act("start")
    await running((one, two))

    def failing(*places: float) -> Batch:
        tally = Tally(TERMS.metrics, sticky=True)
        for place in places:
            tally.drew(place, 0.5)
            tally.saw(place, 0.5, [1])
        return tally.take()

    await one.round(failing(0.1, 0.9))
    await two.round(failing(0.1, 0.2))
    assert (1, 2) == two.rollout.evidence["error-rate"].happened
    store.pages.clear()
    await one.round(failing(0.2, 0.3))
    assert (1, 3) == one.rollout.evidence["error-rate"].happened  # that 0.2 was counted only the other knew
    await two.round(failing(0.2, 0.4))
    assert (1, 4) == two.rollout.evidence["error-rate"].happened


async def test_another_policy() -> None:
    """A gateway that goes by another policy gives the candidate nothing while others go by theirs, and begins when none does."""
    store = Store()
    one, two = await gates(store)
    edited = replace(ROLLING, definition="another")
    two.tables = {"digits": RouteTable("digits", (), rollouts=(edited,))}
    assert "pending 0" == await two.round()
    assert "another policy" in (await two.leader.shown())[0].away
    with pytest.raises(AwayError):
        await two.act("start")
    assert "running 0.5" == await one.round()
    one.tables = two.tables
    await one.round()
    await two.round()
    assert [("pending", 2)] * 2 == [(each.rollout.state, each.rollout.attempt) for each in (one, two)]


async def test_what_cannot_be() -> None:
    """Is refused by what all have come to, and changes nothing."""
    one, two = await gates(Store())
    await one.act("rollback")
    with pytest.raises(InferenceError, match="rolled-back cannot pause"):
        await two.act("pause")
    assert "warming 0" == await two.act("start")
    assert {2} == {each.rollout.attempt for each in (one, two) if await each.round()}


@pytest.mark.parametrize("field", ["page", "units", "step"])
async def test_a_page_that_makes_no_sense(field: str) -> None:
    """Moves nothing, and is said; all goes on when it does again."""
    store = Store()
    one, _ = await gates(store)
    ((key, (line, version, page, units)),) = store.pages.items()
    read = msgspec.msgpack.decode(page, type=Page)
    wrong = msgspec.msgpack.encode(replace(read, rollout=replace(read.rollout, step=7)))
    found = {"page": (b"nonsense", b""), "units": (page, b"nonsense"), "step": (wrong, b"")}[field]
    store.pages[key] = line, version + 1, *found
    assert "running 0.5" == await one.round()
    assert "the store is away" in (await one.leader.shown())[0].away
    store.pages[key] = line, version + 2, page, units
    assert "running 0.5" == await one.round()
    assert "" == (await one.leader.shown())[0].away


@pytest.mark.skipif(not LONG, reason="hundreds of rollouts: FAULTS=long")
@pytest.mark.slow
async def test_three_gateways_keep_the_promise_of_one() -> None:
    """Clients that always fail ask whichever gateway: an unchanged candidate goes in one of a hundred rollouts at most,
    though writes are lost and the store is away and forgets; by what each gateway counted for itself many more would go."""
    taken_back, naive, runs = 0, 0, 400
    for seed in range(runs):
        chance, store = random.Random(seed), Store()
        several = [Gate(store, replace(ROLLING, terms=replace(TERMS, sticky=True), definition="sticky")) for _ in range(3)]
        for gate in several:
            await gate.round()
        await several[0].act("start")
        await running(several)
        clients = [chance.random() for _ in range(60)]
        failing = [place for place in clients if chance.random() < 0.4]
        tallies = [Tally(TERMS.metrics, sticky=True) for _ in several]
        alone, fooled = [gate.rollout for gate in several], False
        memories = [memory(rollout) for rollout in alone]
        for _ in range(90):
            index = chance.randrange(3)
            for _ in range(4):
                place = chance.choice(clients)
                tallies[index].drew(place, 0.5)
                tallies[index].saw(place, 0.5, [int(place in failing)])
            batch = tallies[index].take()
            alone[index] = observe(alone[index], batch, memories[index])
            odds = sum(each.evidence["error-rate"].fortune for each in alone if each.evidence)
            fooled = fooled or odds >= math.log(1 / TERMS.alpha)
            store.away = chance.random() < 0.1
            store.fails = [chance.random() < 0.5] if chance.random() < 0.1 else []
            if chance.random() < 0.02:
                store.pages.clear()
            await several[index].round(batch, seconds=0.1)
        taken_back += any(gate.rollout.state == "rolled-back" for gate in several)
        naive += fooled
    assert taken_back <= 0.017 * runs
    assert naive > 0.017 * runs
