"""Build, then swap: a policy that cannot be used changes nothing."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from gateway.configuration.problems import PolicyError
from gateway.dataplane import Dataplane
from gateway.reload import MAX_BYTES, Reloader, read_snapshot
from gateway.telemetry.metrics import Metrics

POLICY = """version: 1
backends: {b: {protocol: triton-http, endpoints: ["127.0.0.1:1"]}}
models: {m: {variants: {v: {backend: b, model: x}}, routes: [{name: r, use: v}]}}
"""


class Place:
    """A policy file, the data plane it is in force at, and the background work it gave rise to."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "policy.yaml"
        self.file.write_text(POLICY)
        self.metrics = Metrics()
        self.plane = Dataplane(read_snapshot(self.file, None, self.metrics, lambda: 0.0), {})
        self.spawned: list[str] = []

    async def reload(self, text: str) -> bool:
        self.file.write_text(text)
        work: list[Coroutine[Any, Any, None]] = []

        def spawn(coroutine: Coroutine[Any, Any, None], name: str) -> None:
            self.spawned.append(name)
            work.append(coroutine)

        done = Reloader(self.file, self.plane, self.metrics, lambda: 0.0, spawn).reload()
        for each in work:
            await each
        return done


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A policy in force."""
    return Place(tmp_path)


async def test_a_good_policy_is_swapped_in(place: Place) -> None:
    """Its version is in force, and clusters that nobody needs any more are closed."""
    before = place.plane.snapshot
    assert await place.reload(POLICY.replace("127.0.0.1:1", "127.0.0.1:2"))
    assert before.version != place.plane.snapshot.version
    assert ["close cluster b"] == place.spawned


async def test_the_same_policy_closes_nothing(place: Place) -> None:
    """Every cluster lives on."""
    assert await place.reload(POLICY)
    assert [] == place.spawned


@pytest.mark.parametrize("text", ["", "version: 1", POLICY + "x: 1", POLICY + "#" * MAX_BYTES])
async def test_a_bad_policy_is_left_out(place: Place, text: str) -> None:
    """Broken, incomplete, unknown keys, too large: the snapshot stays the very same object, and it is counted."""
    before = place.plane.snapshot
    assert not await place.reload(text)
    assert before is place.plane.snapshot
    assert b'penstock_policy_reloads_total{result="refused"} 1' in place.metrics.exposition()


def test_the_first_policy_must_do(tmp_path: Path) -> None:
    """At the start there is no old policy to stay with."""
    with pytest.raises(FileNotFoundError):
        read_snapshot(tmp_path / "none.yaml", None, Metrics(), lambda: 0.0)
    (tmp_path / "bad.yaml").write_text("version: 2")
    with pytest.raises(PolicyError, match=r"bad\.yaml"):
        read_snapshot(tmp_path / "bad.yaml", None, Metrics(), lambda: 0.0)
