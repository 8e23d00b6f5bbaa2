"""Build, then swap: a policy that cannot be used changes nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from gateway.configuration.load import version
from gateway.configuration.problems import PolicyError
from gateway.configuration.yaml_source import MAX_BYTES
from gateway.dataplane import Dataplane
from gateway.reload import Reloader, read_snapshot
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
        self.plane = Dataplane(read_snapshot(self.file, self.metrics, lambda: 0.0), {})
        self.spawned: list[str] = []

        self.work: list[Coroutine[Any, Any, None]] = []
        self.reloader = Reloader(self.file, self.plane, self.metrics, lambda: 0.0, self.spawn)

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        self.spawned.append(name)
        self.work.append(coroutine)

    async def again(self) -> bool:
        done = await self.reloader.reload()
        while self.work:
            await self.work.pop()
        return done

    async def reload(self, text: str) -> bool:
        self.file.write_text(text)
        return await self.again()


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


def large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (os.mkfifo, "a pipe, socket or device, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "a pipe, socket or device, not a file"),
        (Path.mkdir, "a directory, not a file"),
        (large, "larger than 4096 KiB"),
    ],
)
async def test_what_is_no_policy_holds_nobody_up(
    make: Callable[[Path], None], what: str, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """A pipe without a writer, a device without an end, a directory, a terabyte: refused at once, and the log says why."""
    before = place.plane.snapshot
    place.file.unlink()
    make(place.file)
    async with asyncio.timeout(3):
        assert not await place.again()
    assert before is place.plane.snapshot
    assert f"stays in force: {place.file}: {what}" in caplog.text


async def test_requests_go_on_while_a_policy_is_read(place: Place) -> None:
    """The file is read and judged beside the loop, which is free all the time."""
    routes = "".join(f"{{name: r{each}, match: {{tenant: t{each}}}, use: v}}, " for each in range(300))
    reloading = asyncio.ensure_future(place.reload(POLICY.replace("routes: [", f"routes: [{routes}")))
    turns = 0
    while not reloading.done():
        await asyncio.sleep(0)
        turns += 1
    assert await reloading
    assert turns > 3


async def test_the_last_word_counts(place: Place) -> None:
    """Reloads at the same time follow one another, so that what is in force is what the file said last."""
    place.file.write_text(POLICY + "# first\n")
    first = asyncio.ensure_future(place.again())
    await asyncio.sleep(0)
    place.file.write_text(POLICY + "# last\n")
    await asyncio.gather(first, place.again())
    assert version(place.file.read_bytes()) == place.plane.snapshot.version


def test_the_first_policy_must_do(tmp_path: Path) -> None:
    """At the start there is no old policy to stay with."""
    with pytest.raises(FileNotFoundError):
        read_snapshot(tmp_path / "none.yaml", Metrics(), lambda: 0.0)
    (tmp_path / "bad.yaml").write_text("version: 2")
    with pytest.raises(PolicyError, match=r"bad\.yaml"):
        read_snapshot(tmp_path / "bad.yaml", Metrics(), lambda: 0.0)
