"""Who leads rollouts: what it takes in, decides, orders, and writes down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from msgspec.structs import replace

from backends.errors import InferenceError
from gateway.aside import here
from gateway.rollout.leader import Leader, UnknownRolloutError, Ways
from gateway.rollout.words import Fitness, Later, Order, Told
from gateway.shadow.report import Report as ShadowReport
from gateway.telemetry.rollouts import RolloutNumbers
from routing.match import RouteTable
from routing.plan import Target
from routing.rollout.betting import Metric
from routing.rollout.rolling import Measure, Rolling
from routing.rollout.rollout import Note, Step, Terms
from routing.rollout.tally import Batch, Tally

KEY = ("digits", "live")
TERMS = Terms((Step(0.5, 60.0, 10), Step(0.75, 60.0, 10)), (Metric("error-rate"),), proof="time", sticky=False)
ROLLING = Rolling("live", Target("live", "b", "l"), Target("next", "b", "n"), "request", TERMS, (Measure("error"),), "definition")


def counted(stable: int, candidate: int, weight: float = 0.5, fails: bool = False) -> Batch:
    """So many requests of each side; those of the candidate may all have failed."""
    tally = Tally(TERMS.metrics, sticky=False)
    for place, count in ((1.0, stable), (0.0, candidate)):
        for _ in range(count):
            tally.drew(place, weight)
            tally.saw(place, weight, [int(fails and not place)])
    return tally.take()


class Bench:
    """A leader of processes that tell what they are given to tell."""

    def __init__(self, folder: Path | None = None, processes: int = 1) -> None:
        self.now = 1000.0
        self.tables: Mapping[str, RouteTable] = {"digits": RouteTable("digits", (), rollouts=(ROLLING,))}
        self.batches: list[Batch] = []
        self.fitness: list[Fitness] = ["fit"] * processes
        self.orders: Sequence[Order] = ()
        self.noted: list[tuple[str, Note]] = []
        self.numbers = RolloutNumbers()
        self.mirrored = ["not enough"]
        self.folder = folder
        self.leader = self.another()

    def another(self) -> Leader:
        ways = Ways(
            lambda: self.tables, self.exchange, self.mirrors, lambda name, note: self.noted.append((name, note)), lambda: self.now
        )
        return Leader(ways, self.folder, here, self.numbers)

    async def exchange(self, orders: Sequence[Order]) -> list[list[Told]]:
        before, self.orders = self.orders, orders
        told = []
        for number, fit in enumerate(self.fitness):
            batch = self.batches.pop(0) if self.batches and not number else counted(0, 0)
            told.append([Told(each.model, each.stable, each.attempt, batch, fit, f"{fit}!") for each in before])
        return told

    async def mirrors(self) -> Sequence[ShadowReport]:
        seen = [SimpleNamespace(model="digits", of="live", to="next", verdict=each) for each in self.mirrored]
        return cast("list[ShadowReport]", seen)

    async def round(self, batch: Batch | None = None, seconds: float = 1.0) -> str:
        self.now += seconds
        self.batches += [batch] if batch else []
        await self.leader.round()
        (report,) = await self.leader.shown()
        return f"{report.state} {report.weight:g} {report.verdict}".strip()

    async def running(self) -> None:
        await self.leader.round()
        await self.leader.act(KEY, "start", "alice", "")
        assert "running 0.5 insufficient" == await self.round()


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_steps_to_the_end(bench: Bench) -> None:
    """Time and samples end a step, the last with everything; every note is passed on."""
    await bench.running()
    assert "running 0.5 healthy" == await bench.round(counted(20, 20))
    for _ in range(60):
        await bench.round()
    assert [0.75] == [order.weight for order in bench.orders]
    await bench.round(counted(20, 20, 0.75))
    for _ in range(60):
        await bench.round()
    assert [("promoted", 1.0)] == [(order.state, order.weight) for order in bench.orders]
    assert ["start", "ready", "advance", "finish"] == [note.what for _, note in bench.noted]


async def test_the_mirror_has_to_find_the_answers_the_same(bench: Bench) -> None:
    """Where the proof is its; time and samples alone end no step then."""
    terms = replace(TERMS, proof="mirror")
    bench.tables = {"digits": RouteTable("digits", (), rollouts=(replace(ROLLING, terms=terms, definition="mirrored"),))}
    await bench.running()
    await bench.round(counted(20, 20))
    for _ in range(70):
        await bench.round()
    assert [0.5] == [order.weight for order in bench.orders]
    bench.mirrored = ["different", "same"]  # two shadows of the pair, of two routes
    assert "running 0.5 healthy" == await bench.round()
    bench.mirrored = ["same", "different"]
    assert "running 0.5 healthy" == await bench.round()
    bench.mirrored = ["same", "not enough"]
    await bench.round()
    assert [0.75] == [order.weight for order in bench.orders]


async def test_taken_back_in_the_round_that_knows(bench: Bench) -> None:
    """The new weight is ordered at once, the verdict counted, and the note has the numbers."""
    await bench.running()
    assert "rolled-back 0" == await bench.round(counted(20, 20, fails=True))
    assert [0.0] == [order.weight for order in bench.orders]
    name, note = bench.noted[-1]
    assert ("digits/live", "harm", "penstock") == (name, note.what, note.who)
    assert "20 of 20 events are the candidate's" in note.text
    lines = [line for family in bench.numbers.families() for line in family.lines()]
    assert [True] == [line.endswith(("1", "1.0")) for line in lines if 'verdict="harmful"' in line]


@pytest.mark.parametrize(
    ("fitness", "state"),
    [
        (["fit", "fit"], "running 0.5 insufficient"),
        (["fit", "waiting"], "warming 0"),
        (["fit", "unfit"], "rolled-back 0"),
    ],
)
async def test_every_process_has_to_find_it_fit(fitness: list[Fitness], state: str) -> None:
    """One that waits is waited for, one that finds it unfit suffices."""
    bench = Bench(processes=2)
    bench.fitness = fitness
    await bench.leader.round()
    await bench.leader.act(KEY, "start", "alice", "")
    assert state == await bench.round()
    (report,) = await bench.leader.shown()
    assert ("waiting!" == report.text) is (state == "warming 0")


async def test_a_restart(tmp_path: Path) -> None:
    """State, evidence and history are those that were written down."""
    bench = Bench(tmp_path)
    await bench.running()
    await bench.round(counted(20, 20))
    before = await bench.leader.shown()
    again = bench.another()
    assert before == await again.shown()
    assert 0.5 == again.orders[0].weight


async def test_an_edited_policy(bench: Bench) -> None:
    """Is another attempt, without weight; one that goes is not led any more, and comes back as it was."""
    await bench.running()
    tables, bench.tables = bench.tables, {}
    await bench.leader.round()
    assert [] == await bench.leader.shown()
    assert [] == bench.leader.orders
    bench.tables = tables
    assert "running 0.5 insufficient" == await bench.round()
    edited = replace(ROLLING, definition="another")
    bench.tables = {"digits": RouteTable("digits", (), rollouts=(edited,))}
    assert "pending 0" == await bench.round()
    assert "digits/live/next/2" == bench.leader.orders[0].attempt


async def test_what_clients_tell_later() -> None:
    """Is evidence where a guard watches it, of the attempt that the request belonged to; and no request of its own."""
    bench = Bench()
    metrics = (*TERMS.metrics, Metric("thumbs-down", beside=True))
    rolling = replace(ROLLING, terms=replace(TERMS, metrics=metrics), definition="told")
    bench.tables = {"digits": RouteTable("digits", (), rollouts=(rolling,))}
    await bench.running()
    attempt = bench.leader.orders[0].attempt
    bench.leader.heard(KEY, [Later(attempt, "thumbs-down", 0.01 * number, 0.5, number < 50) for number in range(100)])
    bench.leader.heard(KEY, [Later("another", "thumbs-down", 0.1, 0.5, happened=True)])
    bench.leader.heard(KEY, [Later(attempt, "bought", 0.1, 0.5, happened=True)])
    bench.leader.heard(("digits", "nobody"), [])
    assert "rolled-back 0" == await bench.round()
    (report,) = await bench.leader.shown()
    assert 0 == report.samples
    assert "thumbs-down: 50 of 50 events are the candidate's" in report.notes[-1].text


async def test_what_belongs_to_another_attempt_does_not_count(bench: Bench) -> None:
    """Counts that come late."""
    await bench.running()
    await bench.leader.act(KEY, "rollback", "alice", "no")
    await bench.leader.act(KEY, "start", "alice", "again")
    assert "running 0.5 insufficient" == await bench.round()
    bench.orders = [replace(bench.orders[0], attempt="digits/live/next/1")]
    await bench.round(counted(20, 20, fails=True))
    (report,) = await bench.leader.shown()
    assert (2, 0) == (report.attempt, report.samples)


async def test_refusals(bench: Bench) -> None:
    """Unknown rollouts, and verbs that cannot be."""
    await bench.leader.round()
    with pytest.raises(UnknownRolloutError, match="there is digits/live"):
        await bench.leader.act(("digits", "nobody"), "start", "alice", "")
    with pytest.raises(InferenceError, match="that is pending cannot resume"):
        await bench.leader.act(KEY, "resume", "alice", "")


async def test_a_folder_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Is said, and stops nothing."""
    (tmp_path / "file").write_text("")
    bench = Bench(None)
    bench.folder = tmp_path / "file"
    bench.folder.unlink()
    bench.leader = bench.another()
    (tmp_path / "file").write_text("")
    await bench.running()
    assert "cannot be written" in caplog.text
