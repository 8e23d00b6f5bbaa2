"""The parent's own judgement; what it does with real workers is in tests/faults/test_workers.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.admin.drains import DrainBody
from gateway.configuration.load import load_gateway
from gateway.configuration.problems import PolicyError
from gateway.workers.life import Life
from gateway.workers.parent import Parent

POLICY = """version: 1
backends: {b: {protocol: triton-http, endpoints: ["127.0.0.1:1"]}}
models: {m: {variants: {v: {backend: b, model: x}}, routes: [{name: r, use: v}]}}
"""
Make = Callable[[str], Parent]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A parent that has not started, under this policy."""

    def made(policy: str) -> Parent:
        (tmp_path / "policy.yaml").write_text(policy)
        text = b"listen: {http: 127.0.0.1:0, grpc: 127.0.0.1:0, admin: 127.0.0.1:0}\nworkers: 2\n"
        (tmp_path / "gateway.yaml").write_bytes(text)
        return Parent(load_gateway(text, "gateway.yaml"), tmp_path / "gateway.yaml", tmp_path / "policy.yaml")

    return made


async def test_a_policy_that_cannot_be_used_starts_nothing(make: Make) -> None:
    """It is refused before there is any worker or port."""
    with pytest.raises(PolicyError, match="modls"):
        make(POLICY.replace("models", "modls"))


async def test_a_reload_counts_once_and_refuses_whole(make: Make, tmp_path: Path) -> None:
    """However many workers there are; the version in force is that of the last good document."""
    parent = make(POLICY)
    first = parent._reloader.in_force.version
    (tmp_path / "policy.yaml").write_text("broken")
    await parent.reload()
    assert first == parent._reloader.in_force.version
    (tmp_path / "policy.yaml").write_text(POLICY + "# changed\n")
    await parent.reload()
    assert first != parent._reloader.in_force.version
    lines = (await parent.exposition()).decode().splitlines()
    assert 'penstock_policy_reloads_total{result="ok"} 2' in lines
    assert 'penstock_policy_reloads_total{result="refused"} 1' in lines


async def test_who_ends_while_metrics_are_read_counts_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what it had told last: the totals have that already."""
    parent = make(POLICY)
    seat = parent._seats[0]
    life = seat._born()
    life.served, life.exposition = True, b"# TYPE penstock_abandoned_total counter\npenstock_abandoned_total 100.0\n"

    async def look(life: Life) -> bool:
        life.over.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return True

    assert ["penstock_abandoned_total 100.0"] == await abandoned(parent)
    monkeypatch.setattr(Life, "look", look)
    assert ["penstock_abandoned_total 100.0"] == await abandoned(parent)
    assert [] == seat.lives


async def abandoned(parent: Parent) -> list[str]:
    return [line for line in (await parent.exposition()).decode().splitlines() if line.startswith("penstock_abandoned_total ")]


async def test_a_parent_without_workers_is_not_ready(make: Make) -> None:
    """Before they have started, and when all of them are gone."""
    parent = make(POLICY)
    assert ["starting"] == parent.unready()
    parent._started = True
    assert ["no worker serves"] == parent.unready()
    life = parent._seats[1].life = Life(lambda line: 0, (), parent._orders)
    life.serving = True
    assert [] == parent.unready()
    await parent._drains.drain(DrainBody())
    assert ["drained by an operator"] == parent.unready()
    parent._stopping.terminate()
    assert ["draining"] == parent.unready()
    life.over.cancel()


async def test_a_replacement_is_refused_whole(make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By a broken file; its line is said, and a worker that starts later does so by the document before."""
    parent = make(POLICY)
    before = parent._document
    (tmp_path / "gateway.yaml").write_text("workers: 2\nlimts: {}\n")
    await parent.replace()
    assert before is parent._document
    assert "workers not replaced, those that run go on" in caplog.text
    assert "gateway.yaml:2: limts: unknown key 'limts'" in caplog.text
