"""Judge, then put in force: a policy that cannot be used, or must not replace the one there is, changes nothing."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.aside import Aside, here
from gateway.configuration.load import version
from gateway.configuration.problems import PolicyError, Problem
from gateway.configuration.yaml_source import MAX_BYTES
from gateway.reload.history import Origin
from gateway.reload.policy_file import PolicyFile
from gateway.reload.records import Records
from gateway.reload.reloader import BY_SIGNAL, SAID, Done, Judged, Refusal, Reloader, judged, one_line
from gateway.spawner import Spawner

POLICY = """version: 1
backends: {b: {protocol: triton-http, endpoints: ["127.0.0.1:1"]}}
models: {m: {variants: {v: {backend: b, model: x}}, routes: [{name: r, use: v}]}}
"""
OTHER = POLICY.replace("name: r", "name: other")
TESTED = POLICY + "tests: [{name: t, request: {model: m}, expect: {route: r}}]\n"
ALICE = Origin("alice", "api")


class Place:
    """A policy file that a reloader keeps in force; `put` are the versions it put in force, `refused` what it refused."""

    def __init__(self, folder: Path, text: str = POLICY) -> None:
        self.file = folder / "policy.yaml"
        self.file.write_text(text)
        self.put: list[str] = []
        self.refused = 0
        self.defect: Exception | None = None
        file = PolicyFile(self.file, Aside("test"))
        reading = file.first()
        first = (reading, judged(reading.text, str(self.file)))
        self.reloader = Reloader(file, first, self.take, self.count, Records(folder / "state", here, Spawner().spawn))

    async def take(self, policy: Judged) -> None:
        if self.defect is not None:
            raise self.defect
        self.put.append(policy.version)

    def count(self) -> None:
        self.refused += 1

    async def reload(self, text: str) -> Done | Refusal:
        self.file.write_text(text)
        return await self.reloader.reload(BY_SIGNAL)

    async def begun(self) -> None:
        """What `keep` does before it watches."""
        await self.reloader._begin()
        await self.reloader.records.written()

    @property
    def in_force(self) -> str:
        return self.reloader.in_force.version


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A policy in force."""
    return Place(tmp_path)


def named(text: str) -> str:
    return version(text.encode())


async def test_a_good_policy_is_put_in_force(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever asked is told both versions, and the log has one line."""
    caplog.set_level("INFO")
    assert Done(named(POLICY), named(OTHER)) == await place.reload(OTHER)
    assert ([named(OTHER)], named(OTHER), None) == (place.put, place.in_force, place.reloader.refusal)
    assert [f"policy version {named(OTHER)} in force, before it {named(POLICY)} (reload by SIGHUP)"] == caplog.messages


@pytest.mark.parametrize("text", ["", "version: 1", POLICY + "x: 1", POLICY + "#" * MAX_BYTES])
async def test_a_bad_policy_is_left_out(place: Place, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """Broken, incomplete, unknown keys, too large: counted, said in one line, kept for who asks later; nothing else happens."""
    refusal = await place.reload(text)
    assert isinstance(refusal, Refusal)
    assert (refusal, refusal.origin) == (place.reloader.refusal, BY_SIGNAL)
    assert ([], 1, named(POLICY)) == (place.put, place.refused, place.in_force)
    assert [f"policy not taken (reload by SIGHUP), version {named(POLICY)} stays in force: {refusal.error}"] == caplog.messages
    assert "\n" not in caplog.messages[0]
    assert Done(named(POLICY), named(OTHER)) == await place.reload(OTHER)
    assert place.reloader.refusal is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (POLICY, "the policy in force has tests, this one has none"),
        (TESTED.replace("route: r}", "refused: forbidden}"), "test 't' fails"),
        (TESTED.replace("version: 1", "---\nversion: 1"), "cut off"),
    ],
)
async def test_what_looks_like_an_accident_is_refused(tmp_path: Path, text: str, why: str) -> None:
    """Tests that are gone, a test that fails, a file without its end."""
    place = Place(tmp_path, TESTED)
    refusal = await place.reload(text)
    assert isinstance(refusal, Refusal)
    assert why in refusal.error
    assert named(TESTED) == place.in_force


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
    place.file.unlink()
    make(place.file)
    async with asyncio.timeout(3):
        assert isinstance(await place.reloader.reload(BY_SIGNAL), Refusal)
    assert named(POLICY) == place.in_force
    assert f"stays in force: {place.file}: {what}" in caplog.text


async def test_a_file_that_strangers_may_write_is_refused(place: Place) -> None:
    """However good it is; once its mode is right, the same content is taken."""
    place.file.write_text(OTHER)
    place.file.chmod(0o666)
    await place.reloader.changed()
    assert place.reloader.refusal is not None
    assert f"{place.file}: may be written by everybody: chmod o-w it" == place.reloader.refusal.error
    place.file.chmod(0o644)
    await place.reloader.changed()
    assert named(OTHER) == place.in_force


async def test_a_file_that_says_the_same_again_is_not_looked_at_again(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Neither what was refused nor what is in force; what was refused last is forgotten when its author goes back."""
    place.file.write_text("broken")
    for _ in range(3):
        os.utime(place.file)
        await place.reloader.changed()
    assert (1, 1) == (place.refused, len(caplog.messages))
    place.file.write_text(POLICY)
    await place.reloader.changed()
    assert ([], None) == (place.put, place.reloader.refusal)
    assert isinstance(await place.reload("broken"), Refusal)  # but who asks by SIGHUP wants to know
    assert isinstance(await place.reload("broken"), Refusal)
    assert 3 == place.refused


async def test_a_file_that_cannot_be_read_is_refused_once(place: Place) -> None:
    """A folder in its place, for one."""
    place.file.unlink()
    place.file.mkdir()
    await place.reloader.changed()
    assert 1 == place.refused


async def test_a_defect_refuses_and_is_told(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """What nobody foresaw leaves the old policy in force too, with a traceback in the log."""
    place.defect = RuntimeError("boom")
    refusal = await place.reload(OTHER)
    assert isinstance(refusal, Refusal)
    assert "a defect of the gateway: RuntimeError: boom" == refusal.error
    assert ("Traceback" in caplog.text, named(POLICY)) == (True, place.in_force)


async def test_requests_go_on_while_a_policy_is_read(place: Place) -> None:
    """The file is read and judged beside the loop, which is free all the time."""
    routes = "".join(f"{{name: r{each}, match: {{tenant: t{each}}}, use: v}}, " for each in range(300))
    reloading = asyncio.ensure_future(place.reload(POLICY.replace("routes: [", f"routes: [{routes}")))
    turns = 0
    while not reloading.done():
        await asyncio.sleep(0)
        turns += 1
    assert isinstance(await reloading, Done)
    assert turns > 3


async def test_the_last_word_counts(place: Place) -> None:
    """Reloads at the same time follow one another, so that what is in force is what the file said last."""
    first = asyncio.ensure_future(place.reload(POLICY + "# first\n"))
    await asyncio.sleep(0)
    await asyncio.gather(first, place.reload(POLICY + "# last\n"))
    assert version(place.file.read_bytes()) == place.in_force


async def test_the_start_is_a_change_if_it_is_one(tmp_path: Path) -> None:
    """The first document is the first entry; after a restart with the same one, when it came in force and by whom is known."""
    first = Place(tmp_path)
    await first.begun()
    assert first.reloader.since is not None
    assert ("start", "start") == (first.reloader.since.who, first.reloader.since.what)
    await first.reload(OTHER)
    await first.reloader.records.written()
    again = Place(tmp_path, OTHER)
    await again.begun()
    assert (first.reloader.since, "SIGHUP") == (again.reloader.since, first.reloader.since.who)
    assert [named(OTHER), named(POLICY)] == [each.version for each in again.reloader.records.history.entries]


async def test_a_start_that_lost_something_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It happens all the same, once; the log says how to undo it, the audit log why it may have to be."""
    await Place(tmp_path, TESTED).begun()
    for _ in range(2):
        await Place(tmp_path, OTHER).begun()
    (said,) = caplog.messages
    assert f"policy version {named(OTHER)} would not have replaced version {named(TESTED)}: " in said
    assert "the policy in force has tests, this one has none" in said
    assert said.endswith(f"; `penstock policy rollback {named(TESTED)}` puts that in force again")
    _, change = map(json.loads, (tmp_path / "state" / "audit.jsonl").read_text().splitlines())
    assert ("start", "ok", True) == (change["what"], change["result"], change["note"] in said)


async def test_a_start_that_lost_nothing_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nor one after a policy that only another version of the gateway could read."""
    await Place(tmp_path).begun()
    await Place(tmp_path, TESTED).begun()
    again = Place(tmp_path, OTHER)
    again.reloader.records.history._texts[named(TESTED)] = b"what an older gateway took"
    await again.begun()
    assert [] == caplog.messages


async def test_a_rollback_is_in_force_and_in_the_file(place: Place) -> None:
    """So a restart keeps it; the watch, which sees the file change, has nothing to do."""
    await place.begun()
    await place.reload(OTHER)
    assert Done(named(OTHER), named(POLICY)) == await place.reloader.rollback(named(POLICY), ALICE)
    assert (POLICY, named(POLICY)) == (place.file.read_text(), place.in_force)
    await place.reloader.changed()
    assert [named(OTHER), named(POLICY)] == place.put
    since = place.reloader.since
    assert since is not None
    assert ("alice", "api", "reload") == (since.who, since.via, since.what)  # as ALICE says


async def test_a_rollback_where_the_file_cannot_be_written(place: Place) -> None:
    """It is in force until the file says something new, or somebody asks for the file; the answer says so."""
    await place.begun()
    await place.reload(OTHER)
    target = place.file.rename(place.file.with_name("target"))
    place.file.symlink_to(target)
    done = await place.reloader.rollback(named(POLICY), ALICE)
    assert isinstance(done, Done)
    assert f"{place.file} was not written (it is a symbolic link): in force until it changes or is reloaded" == done.note
    assert (OTHER, named(POLICY), done.note) == (target.read_text(), place.in_force, place.reloader.note)
    await place.reloader.changed()
    assert named(POLICY) == place.in_force
    await place.reloader.reload(BY_SIGNAL)
    assert (named(OTHER), "") == (place.in_force, place.reloader.note)


async def test_a_rollback_may_lose_tests_but_not_what_makes_a_policy(tmp_path: Path) -> None:
    """It is deliberate, so the rules against accidents are not for it; a version that is not kept is none."""
    place = Place(tmp_path)
    await place.begun()
    await place.reload(TESTED)
    assert isinstance(await place.reloader.rollback(named(POLICY), ALICE), Done)
    assert await place.reloader.rollback("0" * 12, ALICE) is None
    place.reloader.records.history._texts[named(TESTED)] = b"what an older gateway took"
    refusal = await place.reloader.rollback(named(TESTED), ALICE)
    assert isinstance(refusal, Refusal)
    assert f"version {named(TESTED)}:1:" in refusal.error


async def test_a_vanished_file_is_said(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """And keeps the policy."""
    place.reloader._gone(FileNotFoundError(2, "No such file or directory", "policy.yaml"))
    assert [f"policy.yaml: No such file or directory, version {named(POLICY)} stays in force"] == caplog.messages


def test_a_line_is_one_line() -> None:
    """Bounded, and nothing in it that a terminal obeys, whatever the file's author wrote."""
    error = PolicyError("x\n.yaml", [Problem("", line, f"bad \x1b[2J thing — {'y' * 90}") for line in range(1, 100)])
    said = one_line(error)
    assert said.startswith("x\\n.yaml:1: bad \\x1b[2J thing — yyy")
    assert (SAID, "…") == (len(said), said[-1])
    assert said.isprintable()
    assert "a: b" == one_line(OSError(1, "b", "a"))
    assert "odd" == one_line(OSError("odd"))


def test_the_first_policy_must_do(tmp_path: Path) -> None:
    """At the start there is no old policy to stay with."""
    with pytest.raises(FileNotFoundError):
        PolicyFile(tmp_path / "none.yaml", Aside("test")).first()
    with pytest.raises(PolicyError, match=r"bad\.yaml"):
        judged(b"version: 2", "bad.yaml")
