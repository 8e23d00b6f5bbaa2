"""Who judges audits: what is taken in, the alarm, who falls, what is kept over reloads and restarts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.aside import here
from gateway.audit.leader import FILE, Auditor, UnknownAuditError, Ways
from gateway.audit.words import Order, Told
from gateway.telemetry.audits import AuditNumbers
from routing.cascade.audits import Audit
from routing.cascade.watch import Seen
from routing.match import Cascade, Match, Route, RouteTable
from routing.plan import Confidence, Stage, Target

KEY = ("digits", "default")
AUDIT = Audit(0.01, falls=True, epoch="e")
STAGES = (Stage(Target("fast", "b", "f"), 0.9), Stage(Target("dear", "b", "d")))
WRONG, RIGHT = (1, 1), (0, 1)


class Bench:
    """An auditor of processes that tell what they are given to tell."""

    def __init__(self, folder: Path | None = None, audit: Audit = AUDIT, processes: int = 1) -> None:
        self.now = 1000.0
        self.folder = folder
        self.audit: Audit | None = audit
        self.told: list[list[Seen]] = [[] for _ in range(processes)]
        self.epoch = audit.epoch
        self.orders: Sequence[Order] = ()
        self.noted: list[tuple[str, str, str, str]] = []
        self.numbers = AuditNumbers()
        self.auditor = self.another()

    def another(self) -> Auditor:
        ways = Ways(lambda: self.tables, self.exchange, lambda *note: self.noted.append(note), lambda: self.now)
        return Auditor(ways, self.folder, here, self.numbers)

    @property
    def tables(self) -> Mapping[str, RouteTable]:
        cascade = Cascade(Confidence("p", "margin"), STAGES, audit=self.audit)
        return {"digits": RouteTable("digits", (Route("default", Match(), cascade, 1.0),))}

    async def exchange(self, orders: Sequence[Order]) -> list[list[Told]]:
        self.orders = orders
        told, self.told = self.told, [[] for _ in self.told]
        return [[Told(*KEY, self.epoch, seen, {"same": len(seen), "late": 1}, 2.0)] for seen in told]

    async def state(self, *seen: list[Seen]) -> str:
        for process, each in enumerate(seen):
            self.told[process] = each
        (found,) = await self.auditor.shown()
        return found.state

    def metrics(self) -> str:
        return "\n".join(line for family in self.numbers.families() for line in family.lines())


async def test_all_processes_count_together() -> None:
    """What each saw, what became of it, and what it cost; the alarm is one for all and obeyed in the same round."""
    bench = Bench(processes=2)
    assert "watching" == await bench.state([RIGHT] * 50, [WRONG])
    (found,) = await bench.auditor.shown()
    assert (51, 1, 4, 8.0, "dear") == (found.requests, found.different, found.outcomes["late"], found.cost, found.dear)
    assert 'penstock_audit_alarm{model="digits",route="default"} 0' in bench.metrics()
    bench.now = 2000.0
    assert "fallen" == await bench.state([WRONG] * 20, [WRONG] * 20)
    assert [Order(*KEY, "e", True)] == bench.orders
    assert [("digits/default", "alarm", "penstock")] == [each[:3] for each in bench.noted]
    assert "promised is 1 % at most" in bench.noted[0][3]
    assert all(f'penstock_audit_{name}{{model="digits",route="default"}} 1' in bench.metrics() for name in ("alarm", "fallen"))


async def test_an_alarm_that_is_only_reported() -> None:
    """Nobody falls."""
    bench = Bench(audit=replace(AUDIT, falls=False))
    assert "alarm" == await bench.state([WRONG] * 20)
    assert [Order(*KEY, "e", False)] == bench.orders
    assert 'penstock_audit_fallen{model="digits",route="default"} 0' in bench.metrics()


async def test_a_person_ends_it() -> None:
    """The audit begins anew, who and why are noted; of no other audit there is anything to end."""
    bench = Bench()
    await bench.state([WRONG] * 20)
    ended = await bench.auditor.resume(KEY, "alice", "renamed labels")
    assert ("watching", 0, False) == (ended.state, ended.requests, bench.orders[0].fallen)
    assert ("digits/default", "resume", "alice") == bench.noted[-1][:3]
    assert bench.noted[-1][3].endswith("renamed labels")
    with pytest.raises(UnknownAuditError, match="there is digits/default"):
        await bench.auditor.resume(("digits", "other"), "alice", "")


async def test_another_policy() -> None:
    """The same audit, with another share, goes on; one by other rules begins anew, whatever is still told by the old ones."""
    bench = Bench()
    await bench.state([WRONG] * 20)
    bench.audit = replace(AUDIT, share=0.5)
    assert "fallen" == await bench.state()
    bench.audit = replace(AUDIT, epoch="other")
    assert "watching" == await bench.state([WRONG] * 20)
    assert 0 == (await bench.auditor.shown())[0].requests
    bench.audit = None
    assert [] == await bench.auditor.shown()
    assert "digits" not in bench.metrics()


async def test_a_restart(tmp_path: Path) -> None:
    """Finds everything as it was, the alarm too; without a folder it begins anew."""
    bench = Bench(tmp_path)
    await bench.state([WRONG] * 20)
    before = await bench.auditor.shown()
    bench.auditor = bench.another()
    assert [Order(*KEY, "e", True)] == bench.auditor.orders
    assert before[0].alarm == (await bench.auditor.shown())[0].alarm
    bench.folder = None
    assert [Order(*KEY, "e", False)] == bench.another().orders


async def test_a_damaged_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Is put aside, and said."""
    (tmp_path / FILE).write_bytes(b"no")
    assert "watching" == await Bench(tmp_path).state()
    assert "audits begin anew" in caplog.text


async def test_a_folder_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Is said, and the judging goes on."""
    (tmp_path / "file").write_text("")
    bench = Bench(tmp_path / "file" / "folder")
    assert "fallen" == await bench.state([WRONG] * 20)
    assert "cannot be written" in caplog.text
