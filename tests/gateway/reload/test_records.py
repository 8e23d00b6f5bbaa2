"""What is remembered of changes, and that trouble with its folder is said and stops nothing."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from gateway.aside import Aside, here
from gateway.reload.audit_log import Change
from gateway.reload.records import Records, now


def spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(work, name=name)


def change(after: str = "bbb") -> Change:
    return Change(now(), "alice", "api", "rollback", "aaa", after, "ok")


async def test_a_change_is_in_the_folder(tmp_path: Path) -> None:
    """Its document in the history, a line in the audit log, in a folder that is made, for this user alone."""
    state = tmp_path / "not" / "there"
    records = Records(state, here, spawn)
    kept = records.adopted(change(), b"text")
    await records.written()
    assert ("alice", "api", "rollback") == (kept.who, kept.via, kept.what)
    assert [kept] == Records(state, here, spawn).history.entries
    assert "alice" == json.loads((state / "audit.jsonl").read_text())["who"]
    assert 0o700 == state.stat().st_mode & 0o777


async def test_without_a_folder_it_is_in_memory() -> None:
    """As long as the process."""
    records = Records(None, here, spawn)
    records.adopted(change(), b"text")
    records.told(change())
    await records.written()
    assert 1 == len(records.history.entries)


async def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file in its place, for one; the history is in memory all the same."""
    (tmp_path / "state").write_text("")
    records = Records(tmp_path / "state", here, spawn)
    records.adopted(change(), b"text")
    await records.written()
    assert 1 == len(records.history.entries)
    assert f"{tmp_path / 'state'}: cannot be written: File exists" in caplog.text


async def test_a_folder_that_hangs_holds_a_change_up_for_a_moment(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever asked for it, that is; it is written down when the folder answers."""
    aside, go = Aside("test"), threading.Event()
    hung = asyncio.ensure_future(aside(lambda: go.wait(20)))
    await asyncio.sleep(0)
    records = Records(tmp_path, aside, spawn)
    async with asyncio.timeout(5):
        records.told(change())
        await records.written()
    assert "does not answer" in caplog.text
    go.set()
    await hung
    await aside(lambda: None)
    assert 1 == len((tmp_path / "audit.jsonl").read_text().splitlines())
    aside.close()


def test_what_is_damaged_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Once, at the start; and so is a history that cannot be read at all."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "0123456789ab.json").write_text("{")
    assert ["0123456789ab.json"] == Records(tmp_path, here, spawn).history.damaged
    assert "1 damaged, left out: 0123456789ab.json" in caplog.text


def test_moments_are_utc_and_sort() -> None:
    """As RFC 3339 writes them, to the millisecond."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", now())
